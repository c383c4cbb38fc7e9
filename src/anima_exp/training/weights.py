"""Save the trained weights to a checkpoint's files, and load them into the same model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from anima_exp.errors import RunError, first_line
from anima_exp.libraries.peft_internals import says_other_sizes, without_weight
from anima_exp.libraries.transformers_loading import progress_bars
from anima_exp.model.lora_start import starts
from anima_exp.system import json_files

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


ADAPTER = "adapter_model.safetensors"
_START = "start"  # A0 and B0 of layers that subtract them (model/lora_start.py)
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def save(model: Any, folder: Path) -> None:
    """Write the adapter as PEFT does, or with lora=full_finetune the model under its own names."""
    own_names = {} if hasattr(model, "peft_config") else {"save_original_format": False}
    with progress_bars(False):
        model.save_pretrained(folder, **own_names)
    if subtracted := starts(model):
        save_tensors(folder, _START, subtracted)


def load(model: "PreTrainedModel | PeftModel", folder: Path) -> None:
    """Copy the weights of a checkpoint into `model`.

    Raises:
        RunError: if they are not those of this model.
    """
    from safetensors.torch import load_file

    if (folder / ADAPTER).exists():
        from peft import set_peft_model_state_dict

        try:
            result: Any = set_peft_model_state_dict(model, load_file(folder / ADAPTER))
        except RuntimeError as error:  # lora.init=eva may have chosen other ranks
            if not says_other_sizes(error):
                raise
            _check(folder, [first_line(error)])
        _check(folder, [*result.unexpected_keys, *without_weight(result.missing_keys, "default")])
        _load_starts(model, folder)
        return
    files = [_WHOLE]
    if not (folder / _WHOLE).exists():
        files = sorted(set(json_files.read_table(folder / _INDEX)["weight_map"].values()))
    loaded: set[str] = set()
    for name in files:
        tensors = load_file(folder / name)
        _check(folder, model.load_state_dict(tensors, strict=False).unexpected_keys)
        loaded |= tensors.keys()
    # Only one of several tied weights is in a file.
    there = {one.data_ptr() for name, one in model.state_dict().items() if name in loaded}
    _check(folder, [n for n, one in model.named_parameters() if one.data_ptr() not in there])


def _load_starts(model: "PreTrainedModel | PeftModel", folder: Path) -> None:
    """Load what PiSSA and OLoRA subtract. Computed again, it could have other signs."""
    wanted = starts(model)
    stored = load_tensors(folder, _START) if wanted else {}
    _check(folder, sorted(wanted.keys() ^ stored.keys()))
    for name, one in wanted.items():
        one.copy_(stored[name])


def _check(folder: Path, names: list[str]) -> None:
    if names:
        raise RunError(
            f"{folder} does not fit this model: {len(names)} weights differ, the first is "
            f"{names[0]}. Use the library versions that wrote it, or use another run_dir=... to "
            "train this run again."
        )


_FILE_BYTES = 2**30


def save_tensors(folder: Path, stem: str, tensors: dict[str, Tensor]) -> None:
    """Write `stem`.safetensors, `stem`-1.safetensors, ... to `folder`."""
    from safetensors.torch import save_file

    for count, some in enumerate(_files(tensors)):
        save_file(some, folder / f"{stem}{f'-{count}' if count else ''}.safetensors")


def load_tensors(folder: Path, stem: str) -> dict[str, Tensor]:
    """Return the tensors that `save_tensors` has written, on the CPU."""
    result: dict[str, Tensor] = {}
    for path in files(folder, stem):
        result |= _read(path)
    return result


def files(folder: Path, stem: str) -> list[Path]:
    """Return the files of `stem` in `folder`."""
    return sorted(folder.glob(f"{stem}*.safetensors"))


def _files(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split tensors into files: safetensors copies all of one file from the GPU at once."""
    some: dict[str, Tensor] = {}
    for name, one in tensors.items():
        if some and sum(other.nbytes for other in some.values()) + one.nbytes > _FILE_BYTES:
            yield some
            some = {}
        some[name] = one
    if some:
        yield some


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        # The tensors are copied, because the file is deleted with its checkpoint.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
