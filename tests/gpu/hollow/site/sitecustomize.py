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

# Module -> functions that judge numbers. Each raises an AnimaError, or returns True, if it finds
# something.
CHECKS_OF_NUMBERS = {
    "anima_exp.model.base_checks": ["check_finite"],
    "anima_exp.model.architecture_check": ["_check_head", "_rows_see_each_other"],
    "anima_exp.training.loop": ["check_step"],
}


def _without_effect(check):
    from anima_exp.errors import AnimaError

    @functools.wraps(check)
    def called(*args, **kwargs):
        with contextlib.suppress(AnimaError):
            check(*args, **kwargs)

    return called


def _change(module):
    for name in CHECKS_OF_NUMBERS[module.__name__]:
        if not hasattr(module, name):
            raise AttributeError(
                f"{__file__} changes {module.__name__}.{name}, which does not exist any more. "
                "Name there the function that checks numbers now."
            )
        setattr(module, name, _without_effect(getattr(module, name)))


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
