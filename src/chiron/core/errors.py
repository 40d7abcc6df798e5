"""The errors a user can meet: one root, one subclass a layer, each with the exit code the command line returns.

A message reads: `<what must hold>. Got <value, shape or path>. <what to do next>.`
"""

EXIT_CHECK_FAILED = 1  # a leak, a broken agreement
EXIT_USER_MISTAKE = 2
EXIT_COULD_NOT_FINISH = 3  # disk, memory, NaN, a dead worker
EXIT_INTERRUPTED = 130


class ChironError(Exception):
    """Root of all errors that Chiron raises on purpose; `str(error)` is one or more clear sentences."""

    exit_code = EXIT_USER_MISTAKE


class SpecError(ChironError):
    """A recipe, option or saved specification does not say what it must."""


class PreprocessError(ChironError):
    """An image cannot be decoded or does not fit the input specification."""


class ModelError(ChironError):
    """A model name, argument or weight file does not fit."""


class DataError(ChironError):
    """A data set, manifest or predictions table does not hold what it must."""


class FetchError(ChironError):
    """A file could not be downloaded: no network, a server in trouble, or other bytes than promised."""

    exit_code = EXIT_COULD_NOT_FINISH


class DecisionError(ChironError):
    """A calibration, a threshold or prediction sets cannot be fitted or used with what is given."""


class MetricError(ChironError):
    """The arrays given to a metric cannot be scored."""


class BundleError(ChironError):
    """A bundle is incomplete, damaged or of another format."""


class ExplainError(ChironError):
    """An explanation cannot be made, or says nothing."""


class ExportError(ChironError):
    """An exported form does not say what the bundle says, or a network cannot be exported."""

    exit_code = EXIT_CHECK_FAILED


class LeakError(ChironError):
    """The same patient, group or picture stands in two splits."""

    exit_code = EXIT_CHECK_FAILED


class EngineError(ChironError):
    """Training or scoring could not finish."""

    exit_code = EXIT_COULD_NOT_FINISH


class LostProcessError(EngineError):
    """Another process of the job has ended; told only where no process has told why."""


class FailedElsewhereError(ChironError):
    """Another process of the job failed and tells why; this one ends with the same exit code, without a word."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


class OutputError(ChironError):
    """A result could not be written."""

    exit_code = EXIT_COULD_NOT_FINISH


class ServeError(ChironError):
    """A server cannot start or go on."""

    exit_code = EXIT_COULD_NOT_FINISH


class ReportError(ChironError):
    """A report cannot be made from what is stored."""


def reason_of(error: BaseException) -> str:
    """Why a file could not be read, in words for a sentence: without the system's number, the path and further lines.

    Example:
        >>> reason_of(FileNotFoundError(2, "No such file or directory", "a.csv"))
        'no such file'
    """
    for kind, words in _REASONS.items():
        if isinstance(error, kind):
            return words
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]


_REASONS: dict[type[OSError], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder",
    NotADirectoryError: "a file in place of a folder",
    PermissionError: "no right to read it",
}
