"""Processes in which bitsandbytes finds a processor with or without AVX512-BF16, and `kernels`."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class Processor:
    """`run(code)` runs Python there; `fetched` is what was to be fetched from a hub."""

    def __init__(self, folder, *, avx512_bf16):
        self.folder = folder
        self.environment = {
            "PYTHONPATH": str(HERE),
            "TEST_AVX512_BF16": "yes" if avx512_bf16 else "no",
            "TEST_FETCHED": str(folder / "fetched.txt"),
        }

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | self.environment, cwd=self.folder, capture_output=True, text=True,
        )  # fmt: skip

    @property
    def fetched(self):
        file = self.folder / "fetched.txt"
        return file.read_text().splitlines() if file.exists() else []
