"""Upload an adapter or a model to the hub after all checks, or show what would be uploaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anima_exp.cli.program import console
from anima_exp.config.commands import PublishConfig
from anima_exp.display import tables
from anima_exp.display.console import file_size, show_plan
from anima_exp.display.tables import Column
from anima_exp.errors import ConfigError, RunError, first_line
from anima_exp.inference.saved_model import record
from anima_exp.model_card.card import of_folder
from anima_exp.model_card.metadata import UNDECIDED
from anima_exp.publishing import sanitize
from anima_exp.publishing.files import CARD, File, read, with_card, write_sent
from anima_exp.system.paths import expanded
from anima_exp.system.terminal import printable

_REFUSED = {
    401: "the hub rejects the token. Run `hf auth login`, or set another HF_TOKEN.",
    403: "the token has no permission to write there. Give it write permission, and use your own "
    "name or your organization's.",
    404: "the repository does not exist, or the token cannot see it. Check the name.",
    409: "another upload is in progress there. Try again.",
    412: "the repository changed during the upload. Try again.",
    429: "the hub rejected the request because there were too many. Try again later.",
}


@dataclass(frozen=True)
class UploadResult:
    address: str
    private: bool
    kept: list[str]  # other files in the repository


def send(files: Sequence[File], push: str, *, private: bool, message: str) -> UploadResult:
    """Upload all files in one commit, and create the repository if it is missing.

    Raises:
        ConfigError: if there is no token, or the repository is public although `private` is set.
        RunError: if the hub rejects the upload or cannot be reached. Then no file was uploaded.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    token = get_token()
    if not token:
        raise ConfigError("There is no hub token. Run `hf auth login` once, or set HF_TOKEN.")
    api = HfApi(token=token)
    with _hub_errors(push, token):
        there = _repository(api, push)
        if there is None:
            api.create_repo(push, private=private)
            there = api.repo_info(push)
    if private and not there.private:
        raise ConfigError(
            f"push={push} already exists and is public, so everyone could read the upload. "
            "Nothing was uploaded. Give private=false, or another name."
        )
    with (
        _hub_errors(push, token, left=lambda: _left(api, push, there.sha)),
        TemporaryDirectory() as made,
    ):
        operations = [CommitOperationAdd(file.name, _source(file, Path(made))) for file in files]
        api.create_commit(push, operations, commit_message=message, parent_commit=there.sha)
    before = {one.rfilename for one in there.siblings or ()}
    kept = sorted(before - {file.name for file in files} - {".gitattributes"})
    return UploadResult(f"{api.endpoint}/{push}", bool(there.private), kept)


def _repository(api: Any, push: str) -> Any:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(push)
    except RepositoryNotFoundError as error:
        if (
            error.response.status_code == 401
        ):  # the token is bad; with a good one the hub answers 404
            raise
        return None


def _left(api: Any, push: str, before: str) -> str:
    """Return what a failed commit has changed in the repository."""
    try:
        after = api.repo_info(push).sha
    except Exception:
        return f"It is unknown whether files were uploaded: check {api.endpoint}/{push}"
    return "No file was uploaded" if after == before else f"{api.endpoint}/{push} has a new commit"


def _source(file: File, copies: Path) -> Any:
    if file.header is not None:
        write_sent(file, copies / file.name)
        return str(copies / file.name)
    return str(file.path) if file.content is None else file.content


@contextmanager
def _hub_errors(
    push: str, token: str, left: Callable[[], str] = lambda: "Nothing was uploaded"
) -> Iterator[None]:
    """Turn any error of the hub or the network into a one-line error without the token."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except Exception as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE is set. Unset it."
        elif status in _REFUSED:
            reason = _REFUSED[status]
        else:
            first = first_line(error).rstrip(".")
            reason = f"{first}."
        raise RunError(f"push={push}: {reason.replace(token, '***')} {left()}.") from None


def show(
    files: Sequence[File],
    folder: Path,
    push: str,
    *,
    private: bool,
    head: Mapping[str, object] | None,
) -> None:
    from huggingface_hub import constants

    who = "private" if private else "public: everyone can read it"
    size = file_size(sum(file.size for file in files))
    show_plan(
        {
            "from": str(folder),
            "to": f"{push} on {constants.ENDPOINT}, {who}",
            "in all": f"{len(files)} files, {size}, one commit",
        }
    )
    names = Column("file", [file.name for file in files], right=False)
    sizes = Column("size", [file_size(file.size) for file in files])
    console().print(tables.table([names, sizes]))
    say("")
    _show_head(head)


def show_sent(sent: UploadResult) -> None:
    who = "private" if sent.private else "public"
    say(f"Uploaded: {sent.address} ({who})")
    if sent.kept:
        say(f"Other files in the repository were kept: {', '.join(sent.kept)}")


def say(text: str) -> None:
    tables.say(console(), text)


def _show_head(head: Mapping[str, object] | None) -> None:
    if head is None:
        say(f"There is no model card: {CARD} is missing, so the hub will show an empty page.")
        return
    show_plan(
        {key: printable(_front_matter_value(key, value)) for key, value in head.items()}
        or {"model card": "no front matter"}
    )
    if head.get("license") in (None, UNDECIDED):
        say(
            f"The model card names no licence. Choose one that the base and the data allow, in the "
            f"head of {CARD}."
        )


def _front_matter_value(key: str, value: object) -> str:
    if key == "model-index":
        return "the scores that the hub shows"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def of_config(config: PublishConfig) -> None:
    """Publish as the settings of the command say.

    Raises:
        ConfigError: as `publish`, or if settings are missing or contradict each other.
        RunError: as `publish`.
    """
    if bool(config.run) == bool(config.folder):
        raise ConfigError("Give either run=FOLDER (a finished run) or folder=FOLDER, and not both.")
    if not config.push:
        raise ConfigError("push is not set, so there is no repository. Give push=user/name.")
    folder, card = expanded(config.folder or "", "folder"), None
    if config.run:
        folder, card = _of_run(expanded(config.run, "run"))
    publish(
        folder,
        config.push,
        card=card,
        base=config.base,
        private=config.private,
        message=config.message,
        dry_run=not config.confirm,
    )


def publish(
    folder: Path,
    push: str,
    *,
    base: str | None = None,
    private: bool = True,
    message: str | None = None,
    card: Callable[[], str] | None = None,
    dry_run: bool = False,
) -> None:
    """Upload all files of `folder` to the hub's repository `push`, in one commit.

    Args:
        base: hub id to write into the uploaded adapter and its card, in place of a local base.
        card: writes a model card if the folder has none, or PEFT's empty template.

    Raises:
        ConfigError: if a file is missing, damaged or private, or there is no token.
        RunError: if the hub rejects the upload, or cannot be reached.
    """
    sanitize.check_hub_id(push, key="push")
    there = read(folder)
    carded = with_card(there, card)
    files = sanitize.sanitize(carded, push=push, base=base)
    head = sanitize.head(files)
    show(files, folder, push, private=private, head=head)
    if carded != there:
        say("README.md is generated from the run's record, because the folder has no model card.")
    for file in files:
        if file.dropped:
            names = ", ".join(sorted(map(str, file.dropped)))
            say(f"Metadata of {file.name} that is not uploaded: {names}.")
    if dry_run:
        say("Nothing was uploaded. Run the same command with confirm=true to upload.")
        return
    sent = send(files, push, private=private, message=message or f"{folder.name} made by anima-exp")
    show_sent(sent)


def _of_run(run: Path) -> tuple[Path, Callable[[], str]]:
    """Return the folder of the trained weights, and a function that writes a model card."""
    whole = record(run).is_full_finetune
    trained = run / ("model" if whole else "adapter")
    return trained, partial(of_folder, run, trained)
