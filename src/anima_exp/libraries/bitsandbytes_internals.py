"""The parts of bitsandbytes that we use although its documentation does not promise them.

They were read in bitsandbytes 0.49 and 0.50. Each function says what it uses and what a change of
it would break; tests/contracts/test_bitsandbytes.py checks every one. Layers and weights are
recognized by the names of their classes, so that looking at a model needs no import.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anima_exp.libraries.log_level import log_level

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

# Its optimizers keep 32-bit states for tensors below LEAST_IN_8_BITS elements, and page only those
# of at least LEAST_PAGED. One constant serves STATES_A_CONSTANT 8-bit states. Only the plan uses
# these numbers: if they change, its bytes are wrong.
LEAST_IN_8_BITS = 4096
LEAST_PAGED = 100_000
STATES_A_CONSTANT = 256
# Each constant of a 4-bit weight serves 64 elements. Double quantization packs 256 constants.
WEIGHTS_A_CONSTANT = 64
CONSTANTS_A_CONSTANT = 256
# The integer that stands for the largest weight of a row in 8 bits.
LARGEST_INTEGER = 127
# The operation of torch that multiplies by 4-bit weights. Under another name selective activation
# checkpointing computes it twice.
PRODUCT_IN_4_BITS = "gemm_4bit"
# It logs that LLM.int8() rounds its inputs, at every layer.
CAST_LOGGER = "bitsandbytes.autograd._functions"


def import_bitsandbytes() -> None:
    """Import bitsandbytes without the kernel that it would fetch from the hub.

    Call this before the first import of bitsandbytes, of peft, or of transformers' Trainer, which
    import it too. On a processor with AVX512-BF16 the import downloads a kernel for 4-bit products
    if the package `kernels` is installed. Otherwise the logger of the module `backends.cpu.ops`
    warns. No run uses that kernel: it computes in bf16 and ignores `trainer.precision`, and it has
    no gradient (keep_cpu_4bit_trainable).
    """
    if "bitsandbytes" not in sys.modules:
        with _missing("kernels"), log_level("bitsandbytes.backends.cpu.ops", logging.CRITICAL):
            import_module("bitsandbytes")


def paged_bytes(optimizer: "Optimizer") -> dict[int, int]:
    """Return GPU -> bytes of optimizer states that the driver moves between it and CPU memory.

    They are managed memory, which no figure of torch counts. bitsandbytes marks such tensors by an
    attribute `is_paged`; under another name they would be missing from the peak memory of a run.
    """
    result: dict[int, int] = {}
    for parameter, states in optimizer.state.items():
        paged = [one for one in states.values() if getattr(one, "is_paged", False)]
        if paged:
            gpu = parameter.device.index or 0
            result[gpu] = result.get(gpu, 0) + sum(one.nbytes for one in paged)
    return result


def keep_cpu_4bit_trainable(model: "torch.nn.Module") -> None:
    """Stop bitsandbytes from repacking 4-bit weights on a CPU at the first evaluation.

    On processors with AVX512-BF16 an evaluation forward replaces each Linear4bit's weight by a
    packed one whose kernel has no gradient. Training then continues with wrong gradients and a
    warning. The flag `support_avx512bf16_for_cpu` of each layer turns that off. If a release
    renames it, such processors compute wrong gradients again.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - mypy


def set_compute_type(model: "torch.nn.Module", dtype: "torch.dtype") -> None:
    """Make every 4-bit layer multiply in `dtype`: the attribute `compute_dtype` of Linear4bit."""
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            setattr(module, "compute_dtype", dtype)  # noqa: B010 - mypy


def is_4bit_layer(module: "torch.nn.Module") -> bool:
    """Return whether a layer is a Linear4bit; PEFT's layer around it has the same name."""
    return type(module).__name__ == "Linear4bit" and is_own_layer(module)


def is_own_layer(module: "torch.nn.Module") -> bool:
    """Return whether the class of a layer is bitsandbytes' own."""
    return type(module).__module__.startswith("bitsandbytes")


def is_quantized(parameter: "torch.Tensor") -> bool:
    """Return whether a parameter is stored in 4 or 8 bits: of class Params4bit or Int8Params."""
    return type(parameter).__name__ in ("Params4bit", "Int8Params")


def elements(parameter: "torch.Tensor") -> int:
    """Return how many weights a parameter stands for; two in 4 bits share each stored byte.

    The true shape is `Params4bit.quant_state.shape`, which a weight without numbers lacks.
    """
    if type(parameter).__name__ != "Params4bit":
        return int(parameter.numel())
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else 2 * int(parameter.numel())


def block_maxima(parameter: "torch.Tensor") -> "torch.Tensor | None":
    """Return the largest number of each block of a 4-bit weight; None for any other parameter.

    It is `QuantState.absmax`, or with double quantization that of `QuantState.state2`.
    """
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return None
    result: torch.Tensor = state.state2.absmax if state.nested else state.absmax
    return result


def bitsandbytes_weight(layer: Any) -> "torch.Tensor | None":
    """Return [out, in] of a 4-bit or 8-bit layer as numbers; None for any other layer.

    It uses `quant_state` of a Linear4bit's weight.
    """
    weight = layer.weight
    if type(layer).__name__ == "Linear4bit":
        from bitsandbytes.functional import dequantize_4bit

        # A sharded weight, put together again (model/fsdp.py), comes without its constants.
        state = getattr(weight, "quant_state", None) or layer.quant_state
        result: torch.Tensor = dequantize_4bit(weight.data, state)
        return result
    if (stored := integers_and_maxima(layer)) is not None:
        integers, largest = stored
        rows: torch.Tensor = integers * (largest / LARGEST_INTEGER)[:, None]
        return rows
    return None


def integers_and_maxima(layer: Any) -> "tuple[torch.Tensor, torch.Tensor] | None":
    """Return an 8-bit layer's integers [out, in] and each row's maximum [out]; None for others.

    A weight is its integer times its row's maximum / LARGEST_INTEGER. They are CB and SCB of a
    Linear8bitLt's weight, which move to `layer.state` at the first forward pass. Another meaning
    of them gives wrong gradients.
    """
    if type(layer).__name__ != "Linear8bitLt":
        return None
    holder = layer.weight if layer.state.CB is None else layer.state
    return holder.CB, holder.SCB


def rounded_to_4_bits(
    weight: "torch.Tensor", kind: str, where: "torch.device", *, double_quant: bool
) -> "torch.Tensor":
    """Return `weight` as a 4-bit layer on `where` computes with it, on the CPU.

    Params4bit quantizes when it is moved to a device, as transformers has it do at loading.
    """
    import_bitsandbytes()
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Params4bit

    packed: Any = Params4bit(
        weight, requires_grad=False, compress_statistics=double_quant, quant_type=kind
    )
    packed = packed.to(where)
    result: torch.Tensor = dequantize_4bit(packed.data, packed.quant_state).cpu()
    return result


def hold_constants(model: "torch.nn.Module", where: "torch.device") -> None:
    """Store quantization constants on layers: a weight loses them when FSDP2 splits it.

    Linear4bit takes them from `layer.quant_state` if its weight has none, and Linear8bitLt reads
    no weight but the integers in `layer.state`.
    """
    import_bitsandbytes()
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    for module in model.modules():
        layer: Any = module
        if isinstance(module, Linear4bit):
            layer.quant_state = layer.weight.quant_state
        if isinstance(module, Linear8bitLt):
            if layer.state.CB is None:
                layer.init_8bit_state()
            layer.state.CB, layer.state.SCB = None, layer.state.SCB.to(where)
            layer.register_forward_pre_hook(_find_integers)


def _find_integers(layer: Any, _: Any) -> None:
    """Point a Linear8bitLt at its integers before it computes: it reads them from its state.

    FSDP2 fills and frees the same memory for every pass, so once is enough.
    """
    if layer.state.CB is None:
        layer.state.CB = layer.weight.data
    layer.weight.CB = None  # on a weight not yet seen, they would be taken from here


def has_own_states(optimizer: "Optimizer") -> bool:
    """Return whether an optimizer is one of bitsandbytes', by its method `get_state_buffer`."""
    return hasattr(optimizer, "get_state_buffer")


def load_into_pages(optimizer: Any, values: dict[str, Any]) -> None:
    """Load states into paged memory. bitsandbytes leaves them where they were read.

    It uses `load_state_dict(..., move_to_device=False)`, `get_state_buffer` and the names state1
    and state2. The first step moves the small states, which are not paged, to the GPU.
    """
    optimizer.load_state_dict(values, move_to_device=False)
    for parameter, result in optimizer.state.items():
        for name in {"state1", "state2"} & result.keys():
            if parameter.device.type == "cuda":
                loaded = result[name]
                result[name] = optimizer.get_state_buffer(parameter, dtype=loaded.dtype)
                result[name].copy_(loaded)


# The averages of AdamW in 32 bits, by torch's names: the numbers are the same. `state_dict` puts
# bitsandbytes' own into a table below this name.
_AVERAGES = {"exp_avg": "state1", "exp_avg_sq": "state2"}
_WRAPPED = "__bnb_optimizer_quant_state__"


def own_names(states: dict[str, Any]) -> dict[str, Any]:
    """Return a weight's AdamW states by the names that bitsandbytes' optimizer uses.

    A checkpoint may come from a machine where the same settings use the other optimizer.
    """
    if "exp_avg" not in states:
        return states
    result = {_AVERAGES.get(name, name): one for name, one in states.items()}
    return result | {"step": int(states["step"])}


def torchs_names(states: dict[str, Any]) -> dict[str, Any]:
    """Return a weight's AdamW states by the names that torch's optimizer uses."""
    import torch

    states = states | states.get(_WRAPPED, {})
    if "state1" not in states:
        return states
    names = {own: torchs for torchs, own in _AVERAGES.items()}
    result: dict[str, Any] = {
        names.get(name, name): one for name, one in states.items() if name != _WRAPPED
    }
    result["step"] = torch.tensor(float(states["step"]))
    return result


def new_exceptions() -> Any:
    """Return the table of weights whose optimizer states are not in 8 bits, empty.

    bitsandbytes keeps one GlobalOptimManager for a whole process: `initialize` drops those of
    another run.
    """
    exceptions: Any = import_module("bitsandbytes.optim").GlobalOptimManager.get_instance()
    exceptions.initialize()
    return exceptions


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Hide the package `name` from imports inside."""
    modules = {key: sys.modules.pop(key) for key in [*sys.modules] if key.partition(".")[0] == name}
    sys.modules[name] = None  # type: ignore[assignment]  # how Python marks a missing module
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(modules)


def native_library() -> tuple[str, bool]:
    """Return the compiled library that bitsandbytes loaded, and whether it uses AVX512-BF16.

    They are the file of `cextension.lib` and `functional.has_avx512bf16`. "" means that none was
    loaded, so that it computes with torch's own operations. Only `anima-exp doctor` asks.
    """
    import_bitsandbytes()
    lib: Any = import_module("bitsandbytes.cextension").lib
    file = str(getattr(getattr(lib, "_lib", None), "_name", "")).replace("\\", "/")
    return file.rpartition("/")[2], bool(import_module("bitsandbytes.functional").has_avx512bf16())
