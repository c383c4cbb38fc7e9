"""Write a 16-bit copy of a base model that is stored in FP8 or MXFP4, and read that copy instead.

bases/NAME-bf16-HASH/   weights in bfloat16 and config.json; safe to delete at any time

Training, evaluation and merging then treat the base as one that was published in 16 bits: `quant`
quantizes it, and an adapter is merged into its 16-bit weights. A copy is complete or absent, and is
written once for all runs. It takes two bytes a parameter of the disk, and of memory while it is
written.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError, first_line
from anima_exp.events import say
from anima_exp.libraries import hub
from anima_exp.libraries.transformers_loading import (
    load_dequantized,
    progress_bars,
    save_as_in_memory,
    without_report,
)
from anima_exp.model.base_checks import check_report
from anima_exp.model.stored_types import dequantized_format
from anima_exp.model.tokenizer import load_error_message, resolve_source
from anima_exp.results.provenance import base_fingerprint
from anima_exp.system.atomic import replace_folder

_SPARE_BYTES = 1_000_000_000  # of the disk, left for checkpoints


def in_16_bits(model: ModelConfig, config: Mapping[str, Any], cache: Path) -> ModelConfig:
    """Return the base, or its 16-bit copy if it is stored in a format that is dequantized.

    Args:
        config: the content of its config.json.
        cache: the cache folder, which keeps the copy.

    Raises:
        ModelError: if it cannot be read, or the copy cannot be written.
    """
    name = dequantized_format(config)
    if name is None:
        return model
    folder = _folder(model, cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            _write(model, name, folder)
    return replace(model, source=str(folder), revision=None)


def _folder(model: ModelConfig, cache: Path) -> Path:
    source = resolve_source(model.source)
    of = base_fingerprint(source, model.revision, cache=cache)
    written_by = version("transformers")  # whose names in memory the copy has
    digest = hashlib.sha256(f"{of} {written_by}".encode()).hexdigest()[:10]
    name = re.sub(r"[^\w.-]", "_", Path(source).name)
    return cache / "bases" / f"{name}-bf16-{digest}"


def _write(model: ModelConfig, name: str, folder: Path) -> None:
    source = resolve_source(model.source)
    say(f"base     {model.source} is stored in {name} and is dequantized to 16 bits")
    try:
        with without_report(), progress_bars(False), hub.no_retries(source):
            loaded, report = load_dequantized(
                source, revision=model.revision, trust_remote_code=model.trust_remote_code
            )
    except Exception as error:  # each format, and each class of models, has errors of its own
        raise ModelError(load_error_message("model.source", source, error, what="model")) from error
    check_report(loaded, report, source)
    needed, free = loaded.get_memory_footprint(), shutil.disk_usage(folder.parent).free
    if free < needed + _SPARE_BYTES:
        raise ModelError(
            f"The 16-bit copy of model.source={model.source} takes {needed / 1e9:.1f} GB, but "
            f"{folder.parent} has {free / 1e9:.1f} GB free. Use cache_dir=FOLDER on a larger disk."
        )
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    try:
        with progress_bars(False):
            save_as_in_memory(loaded, draft)
        replace_folder(draft, folder)
    except OSError as error:
        raise ModelError(
            f"The 16-bit copy of model.source={model.source} cannot be written to {folder}: "
            f"{first_line(error)}. Use cache_dir=FOLDER on another disk."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"base     its copy of {needed / 1e9:.1f} GB is {folder}")
