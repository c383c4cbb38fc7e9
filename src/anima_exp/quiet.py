"""The libraries' warnings that would worry a user without cause, each with the reason."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

_INT8 = "bitsandbytes.autograd._functions"


def quiet_libraries() -> None:
    """Ignore warnings about things that we chose knowingly; all others are shown.

    For the rest of the process, so that commands alone call this.
    """
    # peft asks transformers by a name that transformers is about to drop.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")
    # Paging moves optimizer states from a full GPU; on a CPU there is nothing to move.
    warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
    # LLM.int8() rounds bf16 and fp32 inputs to fp16, which is how the method works. Older
    # bitsandbytes warn of it, newer ones log it, at every layer.
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    logging.getLogger(_INT8).setLevel(logging.ERROR)


@contextmanager
def libraries_quiet() -> Iterator[None]:
    """The same inside; afterwards filters and log levels are as before."""
    logger = logging.getLogger(_INT8)
    level = logger.level
    with warnings.catch_warnings():
        try:
            quiet_libraries()
            yield
        finally:
            logger.setLevel(level)


def import_bitsandbytes() -> None:
    """Import bitsandbytes without the kernel that it would fetch from the hub.

    Call this before the first import of bitsandbytes, of peft, or of transformers' Trainer, which
    import it too. On a processor with AVX512-BF16 the import downloads a kernel for 4-bit products
    if the package `kernels` is installed, and logs a warning otherwise. No run uses that kernel:
    it computes in bf16 whatever `trainer.precision` says, and has no gradient
    (model/base.py, keep_cpu_4bit_trainable).
    """
    if "bitsandbytes" not in sys.modules:
        with _missing("kernels"), _silent("bitsandbytes.backends.cpu.ops"):
            import_module("bitsandbytes")


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Inside, Python does not find the package `name`."""
    modules = {key: sys.modules.pop(key) for key in [*sys.modules] if key.partition(".")[0] == name}
    sys.modules[name] = None  # type: ignore[assignment]  # how Python marks a missing module
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(modules)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
