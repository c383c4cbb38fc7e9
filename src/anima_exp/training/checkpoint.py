"""Write checkpoints atomically, find the newest complete one, and delete old ones.

manifest.json, which is written last, lists every other file with its size and SHA-256. It also
holds the step, and the length of the run's journal, whose lines reached the disk earlier.

Checkpoints of earlier versions have no manifest. They count as complete if all files that training
resumes from exist and their own formats show no damage.
"""

import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from anima_exp.errors import RunError, first_line
from anima_exp.libraries.transformers_loading import progress_bars
from anima_exp.model.tokenizer import with_end
from anima_exp.system import hashing, json_files
from anima_exp.system.atomic import (
    disk_errors_as_run_error,
    flush,
    remove_folder,
    replace_folder,
    write_json,
)

FILE = "manifest.json"
STATE = "state.json"  # of the loop: training/state.py
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")


def seal(folder: Path, *, step: int, journal: dict[str, Any]) -> None:
    """Flush every file of `folder` to the disk, then write the manifest.

    Args:
        journal: the state of the run's journal that the checkpoint relies on (results/journal.py).
    """
    files = _files(folder)
    # Hashing takes about 1 ms per MiB. In a thread, most of it overlaps with writing.
    with ThreadPoolExecutor(1) as pool:
        hashes = pool.submit(hashing.fresh, files)
        for path in files:
            flush(path)
    sizes = [path.stat().st_size for path in files]
    write_json(
        folder / FILE,
        json_files.stamp(
            {
                "step": step,
                "files": {
                    path.relative_to(folder).as_posix(): {"size": size, "sha256": sha}
                    for path, size, sha in zip(files, sizes, hashes.result(), strict=True)
                },
                "journal": journal,
            },
            json_files.MANIFEST,
        ),
    )


def checkpoint_problem(folder: Path, *, step: int) -> str | None:
    """Return why training cannot resume from this checkpoint; None if it can.

    Raises:
        PermissionError: if a file cannot be read, so the question is open.
        NewerFileError: if a later version of anima-exp wrote the checkpoint.
    """
    try:
        if not (folder / FILE).exists():
            if (folder / STATE).exists():
                return f"{FILE} is missing"
            return _problem_without_manifest(folder, step)
        return _problem(folder, _read(folder), step)
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{FILE}: {first_line(error)}"


def journal(folder: Path) -> dict[str, Any] | None:
    """Return the state of the journal that a checkpoint relies on; None without a manifest."""
    if not (folder / FILE).exists():
        return None
    result: dict[str, Any] = _read(folder)["journal"]
    return result


def _read(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    return json_files.read_versioned(json_files.read_table(file), file, json_files.MANIFEST)


def _problem(folder: Path, values: dict[str, Any], step: int) -> str | None:
    if values["step"] != step:
        return f"it was written at step {values['step']}"
    for name, expected in values["files"].items():
        path = folder / name
        if not path.exists():
            return f"{name} is missing"
        if path.stat().st_size != expected["size"]:
            return f"{name} has {path.stat().st_size:,} of {expected['size']:,} bytes"
    hashes = hashing.fresh([folder / name for name in values["files"]])
    for (name, expected), sha in zip(values["files"].items(), hashes, strict=True):
        if sha != expected["sha256"]:
            return f"the bytes of {name} have changed"
    return None


def _problem_without_manifest(folder: Path, step: int) -> str | None:
    weights = [name for name in _WEIGHTS if (folder / name).exists()]
    if not weights:
        return "its weights are missing"
    shards = []
    if weights[0].endswith(".json"):
        shards = sorted(set(json_files.read_table(folder / weights[0])["weight_map"].values()))
    adapter = ["adapter_config.json"] if weights[0].startswith("adapter") else []
    states = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "meter.json"]
    for name in [*weights[:1], *shards, *adapter, *states]:
        if not (folder / name).exists():
            return f"{name} is missing"
        if reason := _damage(folder / name):
            return f"{name} is damaged: {reason}"
    at = json_files.read_table(folder / "trainer_state.json").get("global_step")
    return None if at == step else f"trainer_state.json is of step {at}"


def _damage(path: Path) -> str | None:
    """Return what is wrong with a file according to its own format; None if nothing is."""
    try:
        if path.suffix == ".json":
            json_files.read_table(path)
        elif path.suffix == ".safetensors":
            _check_safetensors(path)
        else:  # PyTorch writes zip files, which hold a checksum of each member
            with zipfile.ZipFile(path) as archive:
                if broken := archive.testzip():
                    return f"{broken} has changed"
    except PermissionError:
        raise
    except (
        OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, struct.error,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        return first_line(error)
    return None


def _check_safetensors(path: Path) -> None:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        size = path.stat().st_size
        if length > size:
            raise ValueError("it is truncated")
        header = json_files.parse(file.read(length))
    ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(f"it has {size:,} of {8 + length + max(ends, default=0):,} bytes")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)


_NAME = re.compile(r"^checkpoint-(\d+)$")
DRAFT = ".draft"


def all_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, oldest step first, without drafts of a killed run."""
    places = folder.glob("checkpoint-*")
    match = [path for path in places if _NAME.match(path.name) and path.is_dir()]
    return sorted(match, key=step)


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint by its name alone, complete or not."""
    return max(all_checkpoints(folder), key=step, default=None)


def newest_whole(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest complete checkpoint, and pass one line to `say` for each incomplete one.

    Every byte is read, which takes about 1 ms per MiB.

    Raises:
        RunError: if a checkpoint cannot be read, or a later version of anima-exp wrote it.
    """
    result = all_checkpoints(folder)
    for path in reversed(result):
        try:
            problem = checkpoint_problem(path, step=step(path))
        except PermissionError as error:
            raise RunError(
                f"Cannot read {error.filename}: {error.strerror}. Make it readable, or use another "
                "run_dir=... to train this run again."
            ) from error
        if problem is None:
            return path
        say(f"resume   {path} cannot be used: {problem}")
    if result:
        say("resume   no checkpoint is complete: training starts again at step 0")
    return None


def step(checkpoint: Path) -> int:
    """Return the number of optimizer steps done when `checkpoint` was written."""
    match = _NAME.match(checkpoint.name)
    assert match, checkpoint
    return int(match[1])


def publish(draft: Path, folder: Path, *, keep: int, journal: dict[str, Any] | None = None) -> Path:
    """Move a finished draft into place, then delete all but the `keep` newest checkpoints.

    Checkpoints of later steps are deleted too: training would have resumed from them if they were
    complete.

    Args:
        journal: the state of the run's journal that the checkpoint relies on (results/journal.py).
    """
    target = folder / draft.name
    seal(draft, step=step(draft), journal=journal or {})
    replace_folder(draft, target)
    draft.parent.rmdir()
    result = all_checkpoints(folder)
    done = [path for path in result if step(path) <= step(target)]
    for old in [*result[len(done) :], *done[:-keep]]:
        remove_folder(old)
    return target


def clear_drafts(folder: Path) -> None:
    """Remove the drafts of a killed run."""
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


MODEL_CARD = "README.md"


def save(model: Any, tokenizer: Any, folder: Path, *, model_card: str) -> None:
    """Write the adapter (or with lora=full_finetune the model), its tokenizer and its model card.

    The folder appears complete or not at all. PEFT or transformers can load it. The model card
    replaces the empty form that PEFT writes.

    Raises:
        RunError: if the disk is full.
    """
    from anima_exp.model.lora_start import as_plain_adapter  # imports torch

    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    model.config.use_cache = True  # off for training only
    generation = getattr(model, "generation_config", None)
    if generation and tokenizer.chat_template:  # its end token may not be the base's EOS
        generation.eos_token_id = with_end(generation.eos_token_id, tokenizer.eos_token_id)
    try:
        with disk_errors_as_run_error(folder):
            with progress_bars(False):
                model.save_pretrained(draft)
            as_plain_adapter(model, draft)
            tokenizer.save_pretrained(draft)
            (draft / MODEL_CARD).write_text(model_card, encoding="utf-8")
            replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # a partial draft would use up disk space
    model.config.use_cache = False
