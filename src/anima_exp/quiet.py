"""The libraries' warnings that would worry a user without cause, each with the reason."""

import logging
import warnings

from anima_exp.libraries.bitsandbytes_internals import CAST_LOGGER


def quiet_libraries() -> None:
    """Ignore warnings about things that we chose knowingly; all others are shown."""
    # peft asks transformers by a name that transformers is about to drop.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")
    # Paging moves optimizer states from a full GPU; on a CPU there is nothing to move.
    warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
    # LLM.int8() rounds bf16 and fp32 inputs to fp16, which is how the method works. Older
    # bitsandbytes warn of it, newer ones log it, at every layer.
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    logging.getLogger(CAST_LOGGER).setLevel(logging.ERROR)
