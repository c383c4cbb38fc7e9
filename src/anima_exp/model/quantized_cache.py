"""Cache a quantized base model, so that later runs load it instead of quantizing again.

bases/NAME-TYPE-HASH/   written by transformers' `save_pretrained`; safe to delete at any time
  *.safetensors         packed weights and their constants, bit for bit as they were quantized
  `SNAPSHOT`            what the entry contains, and a hash over the other files

An entry is complete or absent, and one process writes it. If several cells of a sweep start
together, the first one writes, and the others continue with the weights that they quantized. Models
with custom code are not cached, because their code would have to be cached too.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from anima_exp.config import ModelConfig, QuantConfig, Quantization
from anima_exp.errors import ModelError, NewerFileError, first_line
from anima_exp.events import say
from anima_exp.libraries.transformers_loading import holds_adapter, stored_quantized
from anima_exp.model.expert_weights import save_quantized
from anima_exp.model.tokenizer import resolve_source
from anima_exp.results.provenance import base_fingerprint, folder_fingerprint
from anima_exp.system import json_files
from anima_exp.system.atomic import read_json, remove_folder, replace_folder, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


_FORMAT = 1
_WORTH_BYTES = 100_000_000  # a smaller model is quantized in a few seconds: make bench-base
_SPARE_BYTES = 1_000_000_000  # of the disk, left for checkpoints
_SHARD = "200MB"  # copied in memory at a time
_ABOUT = "SNAPSHOT"
_ABANDONED_SECONDS = 24 * 3600  # after a day, the writing process must have been killed


@dataclass(frozen=True)
class QuantizedCacheEntry:
    """The place in the cache for one base model with one quantization, filled or not."""

    folder: Path
    of: dict[str, Any]  # what identifies its contents
    source: str  # the name that the loaded model gets

    def load(self, load: Callable[[str], Any]) -> Any:
        """Return `load(folder)`, named as the original model; None without a complete entry."""
        if not self.folder.is_dir():
            return None
        if problem := self._problem():
            say(f"base     the quantized cache {self.folder} {problem}: quantizing again")
            return None
        model = load(str(self.folder))
        model.name_or_path = model.config.name_or_path = self.source
        say(f"base     {_gigabytes(_size(self.folder))} already quantized, from {self.folder}")
        return model

    def keep(self, model: "PreTrainedModel | PeftModel") -> None:
        """Write a freshly quantized model, unless it is small, already cached, or the disk is full.

        Its 4-bit weights must not have been evaluated before (keep_cpu_4bit_trainable).
        """
        if not _worth_keeping(model):
            return
        try:
            with self._writing() as draft:
                if draft:
                    self._write(model, draft)
                    size = _gigabytes(_size(self.folder))
                    say(
                        f"base     {size} quantized, kept in {self.folder} for later runs "
                        "(quant.cache_quantized=false turns this off)"
                    )
        except Exception as error:  # a run can continue without a cache
            reason = first_line(error)
            say(f"base     not cached, so the next run quantizes again: {reason}")

    def _problem(self) -> str | None:
        """Return why the entry cannot be loaded, or None. Every byte is hashed."""
        try:
            file = self.folder / _ABOUT
            about = json_files.read_versioned(read_json(file), file, json_files.SNAPSHOT)
            if "sha256" not in about:
                return "was written by an earlier version of anima-exp"
            cache = self.folder.parents[1]
            same = about["sha256"] == folder_fingerprint(self.folder, cache=cache)
            return None if same else "is damaged"
        except PermissionError as error:
            return f"cannot be read ({first_line(error)})"
        except NewerFileError:
            return "was written by a later version of anima-exp"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "is damaged"

    @contextmanager
    def _writing(self) -> Iterator[Path | None]:
        """Yield a folder to write to, or None if another process writes this entry or just did."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        draft = self.folder.with_name(f".{self.folder.name}.part")
        try:
            _remove_abandoned(self.folder.parent)
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
            whole = self.folder.is_dir() and self._problem() is None
            whole |= json_files.is_newer(self.folder / _ABOUT, json_files.SNAPSHOT)
            if self.folder.exists() and not whole:
                remove_folder(self.folder)  # a damaged entry would take disk space from the next
            yield None if whole else draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            lock.release()

    def _write(self, model: Any, draft: Path) -> None:
        needed, free = model.get_memory_footprint(), shutil.disk_usage(draft.parent).free
        if free < needed + _SPARE_BYTES:
            raise OSError(
                f"it takes {_gigabytes(needed)}, but {draft.parent} has {_gigabytes(free)} free"
            )
        dtype = model.config.dtype
        save_quantized(model, draft, max_shard_size=_SHARD)
        model.config.dtype = dtype  # saving turns it into a text
        about = {"of": self.of, "sha256": folder_fingerprint(draft)}
        write_json(draft / _ABOUT, json_files.stamp(about, json_files.SNAPSHOT))
        replace_folder(draft, self.folder)


def cache_entry_of(
    model: ModelConfig,
    quant: QuantConfig,
    *,
    dtype: torch.dtype,
    where: torch.device,
    cache: Path | None,
) -> QuantizedCacheEntry | None:
    """Return the cache entry for a base model; None if it is not to be cached."""
    if not cache or not quant.cache_quantized or quant.type is Quantization.none:
        return None
    if model.trust_remote_code:
        return None
    source = resolve_source(model.source)
    try:
        base = base_fingerprint(source, model.revision, cache=cache)
    except (OSError, ValueError, ModelError):  # loading the model reports the reason
        return None
    of = {
        "format": _FORMAT,
        "base": base,
        "type": quant.type.value,
        "double_quant": quant.double_quant,
        "compute_dtype": quant.compute_dtype.value,
        "dtype": str(dtype).removeprefix("torch."),  # of what is not quantized
        "device": where.type,  # each quantizes with kernels of its own
        **{name: _minor(version(name)) for name in ("transformers", "bitsandbytes")},
    }
    digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:10]
    name = re.sub(r"[^\w.-]", "_", Path(source).name)
    return QuantizedCacheEntry(cache / "bases" / f"{name}-{quant.type.value}-{digest}", of, source)


def _worth_keeping(model: "PreTrainedModel | PeftModel") -> bool:
    as_published = stored_quantized(model)  # its own files load as fast
    adapted = holds_adapter(model)  # saving would write the adapter, not the base model
    return not as_published and not adapted and model.get_memory_footprint() >= _WORTH_BYTES


def _remove_abandoned(folder: Path) -> None:
    for left in (*folder.glob(".*.part"), *folder.glob(".draft-*")):
        with suppress(OSError):  # another process has just removed it
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in os.scandir(folder))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _minor(of_a_package: str) -> str:
    return ".".join(of_a_package.split(".")[:2])
