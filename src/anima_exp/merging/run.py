"""Merge an adapter into its base, verify the result, and move it to `out`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from anima_exp.config import LoraInit, MergeConfig, MergeTarget
from anima_exp.distributed.process_state import borrowed
from anima_exp.errors import ConfigError, InUseError, RunError, RunInterrupted
from anima_exp.events import Listener, emit, listening, say, working
from anima_exp.events import Plan as Planned
from anima_exp.inference.saved_model import model_label, record
from anima_exp.merging import verdict, verification
from anima_exp.merging import write as about
from anima_exp.merging.adapter import Adapter
from anima_exp.merging.base import Base
from anima_exp.merging.given import check_given
from anima_exp.merging.tensor_plan import Plan, plan, short, store_in
from anima_exp.merging.verification import Verification
from anima_exp.merging.write import write
from anima_exp.model.stored_tensors import file, table
from anima_exp.model.tokenizer import resolve_source
from anima_exp.results import provenance
from anima_exp.system import json_files, paths
from anima_exp.system.atomic import replace_folder, why_not_written
from anima_exp.system.paths import expanded

if TYPE_CHECKING:
    from anima_exp.data.rows import TokenizedDataset

_SPARE_BYTES = 100_000_000  # for tokenizer and config, and for the file system


def run(config: MergeConfig, *, listen: Listener | None = None) -> None:
    """Merge an adapter into its base, and verify the merged model.

    Args:
        listen: receives the events; by default the current listeners (events.py).

    Raises:
        AnimaError: if a setting is invalid, or the merged model differs from the trained one.
    """
    with listening(listen), borrowed():
        _run(config)


def _run(config: MergeConfig) -> None:
    out = check(config)
    adapter = Adapter.of(config.adapter or str(Path(str(config.run)) / "adapter"))
    base = Base.of(config.model, cache=paths.cache(config.cache_dir))
    _check_base(config, base, adapter)
    merging = plan(config, base, adapter)
    rows: TokenizedDataset | None = None
    if config.verify:
        stored = store_in(config, base.dtype)
        verification.check_memory(
            config, sum(e.numbers for e in base.tensors.entries.values()), stored
        )
        rows = verification.heldout_rows(config)
    _check_disk(merging, out, rows)
    emit(Planned(verdict.plan(merging, model_label(config), out)))
    with _draft(out) as draft:
        found = _merge(merging, rows, draft, out)
        with _write_errors(out):
            about.write_metadata(merging, found, draft)
            if out.is_dir():
                out.rmdir()  # it is empty, as checked before
            replace_folder(draft, out)
    for line in verdict.end(merging, out):
        say(line)


def check(config: MergeConfig) -> Path:
    """Check the settings and return the folder to write.

    Raises:
        ConfigError: if a setting is missing, or settings contradict each other.
    """
    check_given(config)
    if config.run and config.lora.is_full_finetune:
        raise ConfigError(
            f"run={config.run} has no adapter, for lora=full_finetune trained every weight: the "
            f"whole model is {config.run}/model (model=local model.source={config.run}/model)."
        )
    if config.target is MergeTarget.dequantized and not config.quant.is_4bit:
        raise ConfigError(
            f"target=dequantized needs a base in 4 bits, but quant.type={config.quant.type.value}. "
            "Use target=base."
        )
    if config.run and config.lora.init is LoraInit.loftq and config.target is MergeTarget.base:
        raise ConfigError(
            f"target=base does not fit run={config.run}: with lora.init=loftq its adapter corrects "
            "the error of the 4-bit base, which the weights of target=base do not have. Use "
            "target=dequantized."
        )
    out = expanded(str(config.out), "out")
    return out.resolve() if out.exists() else out  # `out` may be a link, or the current folder


def _check_base(config: MergeConfig, base: Base, adapter: Adapter) -> None:
    """Raise ConfigError if the adapter is known to belong to another base, or is already merged."""
    before = file(config.model, about.MERGED)
    values = table(config.model, before) if before else {}
    with suppress(ValueError):  # the version is not a number; the check continues without it
        values = json_files.read_versioned(values, before or "", json_files.MERGE)
    merged = values.get("adapter")
    if isinstance(merged, dict) and merged.get("weights") == about.weights(adapter):
        raise ConfigError(
            f"model.source={config.model.source} already contains this adapter: it was made by "
            "merging it. Give the original base."
        )
    if not config.run:
        return
    was = record(Path(config.run)).base_fingerprint
    found = provenance.base_fingerprint(
        resolve_source(config.model.source),
        config.model.revision,
        cache=paths.cache(config.cache_dir),
    )
    if was.partition(":")[0] == found.partition(":")[0] and was != found:
        raise ConfigError(
            f"run={config.run} was trained on another base: the files of "
            f"model.source={config.model.source} are not those of then. To merge onto them all the "
            f"same: adapter={config.run}/adapter model=local model.source={config.model.source}"
        )


def _check_disk(merging: Plan, out: Path, rows: "TokenizedDataset | None") -> None:
    config = merging.config
    needed = merging.bytes + _SPARE_BYTES
    if rows is not None:
        labels = int(rows.label_counts[: config.verify_rows].clip(min=0).sum())
        needed += min(labels, config.verify_tokens) * 4 * merging.base.vocabulary
    with _write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise RunError(
            f"out={out} needs {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there. "
            "Free some space, or give a folder on another disk."
        )


def _merge(
    merging: Plan, rows: "TokenizedDataset | None", draft: Path, out: Path
) -> verification.VerificationResult | None:
    """Write the merged model to `draft` and verify it; None without verification."""
    config = merging.config
    if rows is None:
        with working("merging", f"{out}", merging.bytes) as more, _write_errors(out):
            write(merging, draft, more)
        say(
            "verification skipped (verify=false): the merged model has not been compared with the "
            "trained one"
        )
        return None
    stored = store_in(config, merging.base.dtype)
    with Verification(
        rows, most_rows=config.verify_rows, most_tokens=config.verify_tokens, room=out.parent
    ) as verifier:
        with _write_errors(out):
            bare, trained = verification.trained(config, verifier)
        say(
            f"verify   {verifier.labels:,} held-out response tokens; loss of the model as trained: "
            f"{trained.loss:.4f}"
        )
        with working("merging", f"{out}", merging.bytes) as more, _write_errors(out):
            write(merging, draft, more)
        merged = verification.merged(config, verifier, draft, stored)
        verdict.refuse(config, merged, bare)
        again = verification.again(config, verifier, draft)
        found = verification.VerificationResult(verifier.labels, bare, trained, merged, again)
    emit(verdict.Verified(config, found, short(stored)))
    return found


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Yield a folder next to `out` for the unfinished model, and remove it in any case."""
    draft = out.with_name(f".{out.name}.part")
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InUseError(f"out={out} is being written by another process.") from None
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        yield draft
    except KeyboardInterrupt:
        raise RunInterrupted(
            f"interrupted; nothing was written to {out}. Run the same command to start again.",
            exit_status=130,
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        lock.release()
        with suppress(OSError):
            os.unlink(lock.lock_file)


@contextmanager
def _write_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = why_not_written(error)
        if reason is None:
            raise
        raise RunError(
            f"Cannot write out={out}: {reason}. Free some space there, or give another folder."
        ) from (error)
