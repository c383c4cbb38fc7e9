"""Composing and checking a large grid, timed: `python benchmarks/sweep_planning.py`."""

import subprocess
import sys
import time

GRIDS = {100: "seed=range(0,100)", 1000: "seed=range(0,100)", 10_000: "seed=range(0,1000)"}


def main() -> None:
    for cells, seeds in GRIDS.items():
        more = [] if cells == 100 else ["lora.rank=2,4,8,16,32,64,128,256,512,1024"]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "anima_exp.train", "-m", seeds, *more, "dry_run=true"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        took = time.perf_counter() - begun
        print(f"{cells:6,} cells: {took:.1f} s, {1e3 * took / cells:.1f} ms each")


if __name__ == "__main__":
    main()
