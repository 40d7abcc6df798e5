"""The `chiron` program: collects the verbs, prints errors as sentences, and returns the exit code."""

import os
import sys
from collections.abc import Sequence

import typer

from chiron.cli import (
    bench,
    bundle,
    calibrate,
    check,
    compare,
    data,
    demo,
    evaluate,
    explain,
    export,
    fit_check,
    models,
    plan,
    predict,
    recipes,
    report,
    serve,
    study,
    sweep,
    train,
    weights,
)
from chiron.cli.options import say, want_debug
from chiron.core.errors import (
    EXIT_COULD_NOT_FINISH,
    EXIT_INTERRUPTED,
    EXIT_USER_MISTAKE,
    ChironError,
    FailedElsewhereError,
    LostProcessError,
    reason_of,
)
from chiron.core.job import is_first_to_say, note_failure
from chiron.core.process import prepare_process

_A_FAILURE = "why the job failed"  # told by one process, of which the others then miss the answers

app = typer.Typer(
    name="chiron",
    help="Medical-image classifiers that can be believed. Research use only; not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train_command)
app.command("sweep")(sweep.sweep_command)
app.command("study")(study.study_command)
app.command("plan")(plan.plan_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("calibrate")(calibrate.calibrate_command)
app.command("compare")(compare.compare_command)
app.command("report")(report.report_command)
app.command("fit-check")(fit_check.fit_check_command)
app.command("predict")(predict.predict_command)
app.command("export")(export.export_command)
app.command("explain")(explain.explain_command)
app.command("serve")(serve.serve_command)
app.command("demo")(demo.demo_command)
app.command("check")(check.check_command)
app.add_typer(bench.app, name="bench")
app.add_typer(bundle.app, name="bundle")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        from chiron.version import __version__
        from chiron.workflows.run_folder import library_versions

        say(f"chiron {__version__}")
        for name, version in library_versions().items():
            say(f"  {name} {version}")
        raise typer.Exit


@app.callback()
def program(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print versions and leave."
    ),
) -> None:
    """Options of the program itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and leaves with the exit code of `core.errors`."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """The exit code of one command; errors are printed to stderr as sentences, without a traceback."""
    debug = want_debug(arguments)
    prepare_process()
    try:
        # Outside of standalone mode click returns the code of a typer.Exit instead of raising it.
        return app(arguments, standalone_mode=False, prog_name="chiron") or 0
    except ChironError as error:
        if debug and not isinstance(error, FailedElsewhereError):
            raise
        if isinstance(error, LostProcessError) and not is_first_to_say(_A_FAILURE):
            return error.exit_code
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has left
        return 0
    except MemoryError:
        return _fail(
            "The work must fit in memory. Got none left. Lower train.batch_size or input.img_size.",
            EXIT_COULD_NOT_FINISH,
        )
    except OSError as error:
        if debug:
            raise
        place = f" at {error.filename}" if error.filename else ""
        return _fail(f"Files must be readable and writable. Got {reason_of(error)}{place}. Check disk and rights.", 3)
    except Exception as error:
        if debug:
            raise
        if hasattr(error, "format_message"):  # told by click
            return _wrong_options(error.format_message())
        return _fail(
            f"This should not happen: {type(error).__name__}: {error}. Run again with --debug and report it.",
            EXIT_COULD_NOT_FINISH,
        )


def _wrong_options(message: str) -> int:
    if message.startswith("Usage:"):  # the whole help, where no verb was given
        say(message)
        return EXIT_USER_MISTAKE
    return _fail(f"{message} `chiron --help` shows the options.", EXIT_USER_MISTAKE)


def _fail(message: str, code: int) -> int:
    note_failure(message, code)
    if not message or not is_first_to_say(message):
        return code
    is_first_to_say(_A_FAILURE)
    for line in message.splitlines():
        print(f"chiron: {line}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    main()
