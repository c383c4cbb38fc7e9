"""On PYTHONPATH: lets bitsandbytes take the processor for one with or without AVX512-BF16.

Python imports this module by itself, in every process that a test starts with `forced` of
processor.py. The answer has to be given before bitsandbytes is imported, for it asks at import.
"""

import importlib.abc
import importlib.util
import os
import sys


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "bitsandbytes.functional":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_answer(module):
            load(module)
            module.has_avx512bf16 = lambda: os.environ["TEST_AVX512_BF16"] == "yes"

        spec.loader.exec_module = load_and_answer
        return spec


if "TEST_AVX512_BF16" in os.environ:
    sys.meta_path.insert(0, _Finder())
