"""Import once what every job needs. The fork server of the pool imports this module.

In any other process the import has no effect, because only pool.py sets WARM_FOR, while it starts
the server. The module must not initialize a device or start a thread: neither survives a fork.
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
# peft imports bitsandbytes, which initializes CUDA, and then no forked job could use a GPU. On
# machines with GPUs each job imports these itself, which takes a few seconds.
_WITHOUT_GPU = (
    "peft",
    "transformers.optimization",
    "transformers.integrations.bitsandbytes",
    "anima_exp.training.loop",
    "anima_exp.training.checkpoint",
    "anima_exp.model.adapter",
    "anima_exp.evals.evaluator",
)
# The modules above import these slow ones at first use. Another version may not have them.
_LATE = ("transformers.modeling_utils", "wandb.sdk.launch")


def load(kind: str) -> None:
    """Import what the jobs of a sweep need. `kind` is `gpu` or `cpu`, as the machine has."""
    quiet_libraries()
    cpu = kind == "cpu"
    if cpu:
        import_bitsandbytes()
    for module in [*_FOR_ALL, *(_WITHOUT_GPU if cpu else []), *_LATE]:
        with suppress(Exception):  # the job that needs the module reports the error
            import_module(module)
    with suppress(Exception):  # compile a thousand patterns once
        prepare_conversions()
    # A signal to the process group must not kill the server while its jobs save checkpoints.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Exclude a million permanent objects from garbage collection, which would copy their pages.
    gc.collect()
    gc.freeze()


# Remove the variable, because the jobs inherit the environment of this process.
if kind := os.environ.pop(WARM_FOR, None):
    load(kind)
