"""Python runs this at its start: what must differ where no kernel computes anything.

Every gradient on a hollow GPU is 0, and memory holds zeros or stale bytes. Our checks of numbers
would rightly refuse that. So they are called, and what they find is ignored. Nothing in the package
knows of it.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import os
import sys

# Module -> functions that judge numbers, with what they return if they find nothing. Each raises an
# AnimaError, or returns something else, if it does.
CHECKS_OF_NUMBERS = {
    "anima_exp.model.base_checks": {"check_finite": None},
    "anima_exp.model.architecture_check": {"_check_head": None, "_obstacle": None, "_same": True},
    "anima_exp.model.activation_checkpointing": {"_same_sizes": True},
    "anima_exp.model.ignored_settings": {"check_settings": None},
    "anima_exp.training.first_gradients": {"check_first_gradients": None},
    "anima_exp.training.loop": {"check_step": None},
}


def _without_effect(check, nothing):
    from anima_exp.errors import AnimaError

    @functools.wraps(check)
    def called(*args, **kwargs):
        with contextlib.suppress(AnimaError):
            check(*args, **kwargs)
        return nothing

    return called


def _change(module):
    for name, nothing in CHECKS_OF_NUMBERS[module.__name__].items():
        if not hasattr(module, name):
            raise AttributeError(
                f"{__file__} changes {module.__name__}.{name}, which does not exist any more. "
                "Name there the function that checks numbers now."
            )
        setattr(module, name, _without_effect(getattr(module, name), nothing))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are to change, and changes them once they are executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in CHECKS_OF_NUMBERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _change(module)

            spec.loader.exec_module = exec_module
        return spec


if "libcudart" in os.environ.get("LD_PRELOAD", ""):
    sys.meta_path.insert(0, _Finder())
