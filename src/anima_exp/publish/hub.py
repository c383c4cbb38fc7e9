"""Checked files -> one commit in a repository of the hub, or a reason in one line and none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anima_exp.errors import ConfigError, RunError, first_line
from anima_exp.publish.files import File, write_sent

_REFUSED = {
    401: "the hub does not accept the token. Run `hf auth login`, or set HF_TOKEN anew.",
    403: "the token may not write there. It needs the permission to write, and the name must be "
    "yours or your organization's.",
    404: "there is no such place, or the token may not see it.",
    409: "somebody else is writing there. Try again.",
    412: "it was changed meanwhile. Try again.",
    429: "the hub asks to wait: too many requests. Try again later.",
}


@dataclass(frozen=True)
class Sent:
    address: str
    private: bool
    kept: list[str]  # files that were there before and are none of ours


def send(files: Sequence[File], push: str, *, private: bool, message: str) -> Sent:
    """All files in one commit; the repository is made if it is missing.

    Raises:
        ConfigError: there is no token, or the repository is public and `private` is set.
        RunError: the hub refuses or cannot be reached. No file is in the repository then.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    token = get_token()
    if not token:
        raise ConfigError(
            "There is no token for the hub. Run `hf auth login` once, or set HF_TOKEN."
        )
    api = HfApi(token=token)
    with _told(push, token):
        there = _repository(api, push)
        if there is None:
            api.create_repo(push, private=private)
            there = api.repo_info(push)
    if private and not there.private:
        raise ConfigError(
            f"push={push} is there already and public, so that everyone could read what is sent. "
            "Nothing was sent. Give private=false, or another name."
        )
    with _told(push, token, left=lambda: _left(api, push, there.sha)), TemporaryDirectory() as made:
        operations = [CommitOperationAdd(file.name, _source(file, Path(made))) for file in files]
        api.create_commit(push, operations, commit_message=message, parent_commit=there.sha)
    before = {one.rfilename for one in there.siblings or ()}
    kept = sorted(before - {file.name for file in files} - {".gitattributes"})
    return Sent(f"{api.endpoint}/{push}", bool(there.private), kept)


def _repository(api: Any, push: str) -> Any:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(push)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:  # where a private one answers 404 to a good token
            raise
        return None


def _left(api: Any, push: str, before: str) -> str:
    """What a failed commit has left there."""
    try:
        after = api.repo_info(push).sha
    except Exception:
        return f"Whether anything arrived is not known: look at {api.endpoint}/{push}"
    return "No file was sent" if after == before else f"{api.endpoint}/{push} has a new commit"


def _source(file: File, copies: Path) -> Any:
    if file.header is not None:
        write_sent(file, copies / file.name)
        return str(copies / file.name)
    return str(file.path) if file.content is None else file.content


@contextmanager
def _told(
    push: str, token: str, left: Callable[[], str] = lambda: "Nothing was sent"
) -> Iterator[None]:
    """Turn whatever a server, a proxy or a cable can raise into one line without the token."""
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
