"""Silence library warnings that would worry a user without cause, each with the reason."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from anima_exp.libraries.bitsandbytes_internals import CAST_LOGGER
from anima_exp.libraries.liger_internals import BACKENDS_LOGGER
from anima_exp.libraries.log_level import log_level


def quiet_libraries() -> None:
    """Ignore warnings about deliberate choices. All others are shown.

    The change lasts for the rest of the process, so only commands call this.
    """
    # peft asks transformers by a name that transformers is about to drop.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")
    # Paging moves optimizer states from a full GPU; on a CPU there is nothing to move.
    warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
    # LLM.int8() rounds bf16 and fp32 inputs to fp16, which is how the method works. Older
    # bitsandbytes warn of it, newer ones log it, at every layer.
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    logging.getLogger(CAST_LOGGER).setLevel(logging.ERROR)
    # liger-kernel tries the kernels of every maker at the first use, and warns of each that is
    # not installed. If none can be used, it raises an error.
    logging.getLogger(BACKENDS_LOGGER).setLevel(logging.ERROR)
    # torch warns of a change in place of what a sharded base returns. liger-kernel's norm returns
    # a view, and model/forward.py only indexes it.
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")


@contextmanager
def libraries_quiet() -> Iterator[None]:
    """Ignore the same warnings inside. Filters and log levels are restored afterwards."""
    with warnings.catch_warnings(), log_level(CAST_LOGGER), log_level(BACKENDS_LOGGER):
        quiet_libraries()
        yield
