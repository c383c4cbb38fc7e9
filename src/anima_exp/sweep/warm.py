"""What every job imports, imported once: the process that jobs are forked from loads this module.

No device may be touched and no thread started here, for neither survives a fork.
"""

import os
from importlib import import_module

from anima_exp.quiet import quiet_libraries

_FOR_ALL = (
    "torch",
    "transformers.trainer",
    "transformers.models.llama.modeling_llama",
    "peft",
    "datasets",
    "wandb",
)
_OURS = (
    "anima_exp.experiment",
    "anima_exp.training.trainer",
    "anima_exp.training.save",
    "anima_exp.evals.measure",
    "anima_exp.data.prepare",
    "anima_exp.model.adapter",
    "anima_exp.model.base",
    "anima_exp.model.tokenizer",
    "anima_exp.plan",
)


def load() -> None:
    quiet_libraries()
    # bitsandbytes asks CUDA which GPU there is as it is imported, after which no fork could use it.
    without_gpu = os.environ.get("ANIMA_EXP_WARM") == "cpu"
    for module in (*_FOR_ALL, *(("bitsandbytes",) if without_gpu else ()), *_OURS):
        import_module(module)


load()
