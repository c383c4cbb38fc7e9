"""What a cell costs beside its steps: a sweep of one-step runs of the tiny base, warm and cold.

python benchmarks/sweep_overhead.py [CELLS]
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CELL = ["trainer.max_steps=1", "evals=[]", "trainer.eval_at_start=false", "data.heldout_rows=0"]


def seconds_of_cells(cells: int, *overrides: str) -> list[float]:
    """From the end of one cell to the end of the next, for all but the first."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "anima_exp.train", "-m", f"seed=range(0,{cells})", *CELL,
             f"runs_dir={folder}", *overrides],
            check=True, stdout=subprocess.DEVNULL,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "offline"},
        )  # fmt: skip
        ends = sorted(path.stat().st_mtime for path in Path(folder).glob("*/record.json"))
        assert len(ends) == cells
        return [after - before for before, after in itertools.pairwise(ends)]


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    found = {}
    for tracking in ("none", "wandb"):
        for warm in ("true", "false"):
            begun = time.perf_counter()
            seconds = seconds_of_cells(cells, f"tracking={tracking}", f"launcher.preload={warm}")
            found[tracking, warm] = median(seconds)
            print(
                f"tracking={tracking:5} launcher.preload={warm:5}  a cell: median "
                f"{median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s; "
                f"{cells} cells: {time.perf_counter() - begun:.1f} s"
            )
        ratio = found[tracking, "false"] / found[tracking, "true"]
        print(f"tracking={tracking:5} a cold cell costs {ratio:.1f} times a warm one")


if __name__ == "__main__":
    main()
