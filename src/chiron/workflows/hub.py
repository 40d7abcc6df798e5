"""`chiron bundle push | pull`: bundles on the Hugging Face Hub, or on a server that speaks as it does."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import OfflineModeIsEnabled

from chiron.bundle import read_bundle
from chiron.bundle_files import BUNDLE_FILES, CARD, SPEC, WEIGHTS, BundleFiles
from chiron.core.errors import BundleError, ChironError, FetchError, SpecError
from chiron.core.files import new_folder, require_new
from chiron.models.weights.pretrained import require_connection
from chiron.workflows.bundle import write_card

TOKEN = "HF_TOKEN"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def push_bundle(path: str | Path, repository: str, *, license: str = "unknown", public: bool = False) -> str:
    """Uploads a bundle as one commit and returns its address. A new repository is private unless asked otherwise.

    The token comes from the environment (HF_TOKEN) and from nowhere else. The card is made anew with the license.

    Args:
        repository: `OWNER/NAME`.
    Raises:
        BundleError: the bundle is missing or damaged.
        SpecError: a wrong name, or no token.
        FetchError: the server cannot be reached, or refuses.
    """
    _require_name(repository)
    files = BundleFiles(Path(path))
    identity, _, _ = read_bundle(files.path)
    token = os.environ.get(TOKEN)
    if not token:
        raise SpecError(
            f"Uploading needs a token with the right to write. Got none in {TOKEN}. "
            "Make one at https://huggingface.co/settings/tokens and set the variable."
        )
    contents = {name: files.read(name) for name in files.names if name in BUNDLE_FILES}
    contents[CARD] = write_card(path, license=license).encode()
    operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
    with _told(f"pushed to {repository}"):
        api = HfApi(endpoint=constants.ENDPOINT, token=token, library_name="chiron")
        api.create_repo(repository, private=not public, exist_ok=True)
        api.create_commit(repository, operations, commit_message=f"Chiron bundle {identity}")
    return f"{constants.ENDPOINT}/{repository}"


def pull_bundle(repository: str, out: str | Path, *, revision: str = "main", force: bool = False) -> tuple[Path, str]:
    """Downloads a bundle, checks it, and returns its folder and its id; nothing stays of one that is not whole.

    Only the files that a bundle has are fetched. HF_TOKEN is sent where it is set, for private repositories.

    Args:
        repository: `OWNER/NAME`.
        revision: a branch, a tag or a commit.
    Raises:
        BundleError: there is no bundle in the repository, or it is damaged.
        SpecError: a wrong name, or something stands at `out`.
        FetchError: the server cannot be reached, or refuses.
    """
    _require_name(repository)
    target, token = Path(out), os.environ.get(TOKEN) or False
    require_new(target, force=force)
    with new_folder(target) as folder:
        with _told(f"pulled from {repository}"):
            api = HfApi(endpoint=constants.ENDPOINT, token=token, library_name="chiron")
            found = api.model_info(repository, revision=revision)
            there = {file.rfilename for file in found.siblings or ()}
            if not {SPEC, WEIGHTS} <= there:
                raise BundleError(
                    f"A bundle must hold {SPEC} and {WEIGHTS}. Got {', '.join(sorted(there)) or 'no file'} in "
                    f"{repository}. Give another repository or --revision."
                )
            for name in sorted(there.intersection(BUNDLE_FILES)):
                where: dict[str, Any] = {"revision": found.sha, "local_dir": folder, "token": token}
                hf_hub_download(repository, name, endpoint=constants.ENDPOINT, **where)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes
        identity, _, _ = read_bundle(folder)
    return target, identity


def _require_name(repository: str) -> None:
    if not _NAME.fullmatch(repository):
        raise SpecError(f"A repository of the Hub must be OWNER/NAME. Got {repository!r}. Mend the name.")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the network does wrong, as one sentence."""
    try:
        require_connection(constants.ENDPOINT)
        yield
    except ChironError:
        raise
    except RepositoryNotFoundError as error:
        raise FetchError(
            f"A bundle must be {what}. Got no such repository, or no right to see it. Check the name and {TOKEN}."
        ) from error
    except (OSError, ValueError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise FetchError(
            f"A bundle must be {what}, for which {constants.ENDPOINT} must be reached. Got {reason}. "
            "Try again where there is a network."
        ) from error
