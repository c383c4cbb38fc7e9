"""How long `python -m anima_exp.compare` takes for 500 runs: make bench-compare."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import synthetic


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = synthetic.grid(
            Path(folder) / "runs",
            ranks=(2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            dropouts=(0.0, 0.01, 0.02, 0.05, 0.1),
            seeds=range(10),
        )
        for options in ((), ("--baseline", "lora.rank=64"), ("--format", "json")):
            command = [sys.executable, "-m", "anima_exp.compare", f"{folder}/runs", *options]
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - started)
            told = " ".join(options) or "the table"
            print(f"{len(runs)} runs, {told}: {min(seconds):.2f} s, start of Python included")


if __name__ == "__main__":
    main()
