"""What every job imports, imported once: the process that jobs are forked from loads this module.

No device may be touched and no thread started here, for neither survives a fork.
"""

import gc
import os
import signal
from contextlib import suppress
from importlib import import_module

from anima_exp.quiet import quiet_libraries

WARM_FOR = "ANIMA_EXP_WARM_FOR"  # `cpu` or `gpu`, in the environment of the process
_FOR_ALL = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "datasets",
    "wandb",
    "anima_exp.experiment",
    "anima_exp.data.prepare",
    "anima_exp.model.base",
    "anima_exp.model.tokenizer",
    "anima_exp.overview",
)
# The Trainer imports peft, peft bitsandbytes, and that asks CUDA which GPU there is: no fork could
# use one afterwards. With GPUs each job imports these itself, a few seconds.
_WITHOUT_GPU = (
    "transformers.trainer",
    "transformers.integrations.bitsandbytes",
    "anima_exp.training.trainer",
    "anima_exp.training.save",
    "anima_exp.model.adapter",
    "anima_exp.evals.measure",
)
# Imported by those only when they are first used, and slow; they may be elsewhere tomorrow.
_LATE = ("transformers.modeling_utils", "wandb.sdk.launch")


def load() -> None:
    quiet_libraries()
    cpu = os.environ.get(WARM_FOR) == "cpu"
    for module in [*_FOR_ALL, *(_WITHOUT_GPU if cpu else []), *_LATE]:
        with suppress(Exception):  # the job that needs it will say what is wrong with it
            import_module(module)
    with suppress(Exception):  # a thousand patterns, compiled once and kept
        import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("llama")
    # A signal to the whole process group must not take the server from jobs that still save.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A million objects that live as long as the process: no job need look at them, nor copy them.
    gc.collect()
    gc.freeze()


load()
