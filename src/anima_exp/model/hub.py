"""A file of a hub repository -> its place on this machine, or at once one line why not."""

import re
from functools import cache
from pathlib import Path

from anima_exp.errors import ModelError, first_line
from anima_exp.terminal import tell

_SECONDS = 10.0  # for the hub's first answer


def is_id(place: str) -> bool:
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", place) is not None


def file(place: str, name: str, *, where: str, revision: str | None = None) -> Path | None:
    """The file `name` of the repository `place`, in the hub's cache; None if it has none.

    Args:
        where: `adapter=org/name`, the setting; it opens the error message.

    Raises:
        ModelError: there is no such repository, or no network and no earlier download.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        # One question and no second: hf_hub_download by itself asks for half a minute.
        get_hf_file_metadata(hf_hub_url(place, name, revision=revision), timeout=_SECONDS)
        return Path(hf_hub_download(place, name, revision=revision))
    except EntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ModelError(f"{where}: there is no such folder, and it is no hub id.") from error
    except GatedRepoError as error:
        raise ModelError(
            f"{where} asks for your consent: accept its licence on the hub and run `hf auth login`."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{where}: no such folder, and the hub has no such repository, or it is private "
            "(`hf auth login`). Check the id."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{where}: the hub has no revision {revision} of it.") from error
    except Exception as error:  # each release of the library has others for a missing network
        reason = "the hub cannot be reached"
        if isinstance(error, OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE is set"
        elif isinstance(error, HfHubHTTPError):
            reason = f"the hub is in trouble ({first_line(error)})"
        if not any(_cached(place, known, revision) for known in (name, *_KNOWN)):
            raise ModelError(
                f"{where}: no such folder, and {reason}. Give a folder, or try with a network."
            ) from error
        if not isinstance(error, OfflineModeIsEnabled):  # which the user has asked for
            _once(f"{where}: {reason}; an earlier download is used.")
        return _cached(place, name, revision)


_KNOWN = ("adapter_config.json", "config.json")  # one of them tells that there was a download


def _cached(place: str, name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


@cache
def _once(text: str) -> None:
    tell(text)
