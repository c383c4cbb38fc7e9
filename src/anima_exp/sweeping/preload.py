"""What every job imports, imported once: the process that jobs are forked from loads this module.

Importing it has no effect in any other process: only the pool (pool.py) sets WARM_FOR, while it
starts that process. No device may be touched and no thread started here, for neither survives a
fork.
"""

import gc
import os
import signal
from contextlib import suppress
from importlib import import_module

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.libraries.quiet import quiet_libraries
from anima_exp.libraries.transformers_internals import prepare_conversions
from anima_exp.sweeping.cell import WARM_FOR

_FOR_ALL = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "datasets",
    "wandb",
    "anima_exp.experiment.run",
    "anima_exp.data.dataset",
    "anima_exp.model.base",
    "anima_exp.model.tokenizer",
    "anima_exp.experiment.overview",
)
# peft imports bitsandbytes, and that asks CUDA which GPU there is: no fork could use one
# afterwards. With GPUs each job imports these itself, a few seconds.
_WITHOUT_GPU = (
    "peft",
    "transformers.optimization",
    "transformers.integrations.bitsandbytes",
    "anima_exp.training.loop",
    "anima_exp.training.checkpoint",
    "anima_exp.model.adapter",
    "anima_exp.evals.evaluator",
)
# Imported by those only when they are first used, and slow; they may be elsewhere tomorrow.
_LATE = ("transformers.modeling_utils", "wandb.sdk.launch")


def load(kind: str) -> None:
    """Import all that the jobs of a sweep need, on machines with a `gpu` or with a `cpu` alone."""
    quiet_libraries()
    cpu = kind == "cpu"
    if cpu:
        import_bitsandbytes()
    for module in [*_FOR_ALL, *(_WITHOUT_GPU if cpu else []), *_LATE]:
        with suppress(Exception):  # the job that needs it will say what is wrong with it
            import_module(module)
    with suppress(Exception):  # a thousand patterns, compiled once and kept
        prepare_conversions()
    # A signal to the whole process group must not take the server from jobs that still save.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A million objects that live as long as the process: no job need look at them, nor copy them.
    gc.collect()
    gc.freeze()


# The variable is removed, since the jobs inherit this process's environment.
if kind := os.environ.pop(WARM_FOR, None):
    load(kind)
