"""From a command to its answer, and of a run to its first step; and what is imported for that.

python benchmarks/start_up.py [ROUNDS]

Every measurement is a process of its own; the commands take turns, and each figure is the median
of ROUNDS (5). The first step is that of the tiny run, without the evaluation that comes before it
and without W&B; its token ids are in the cache, as in every start but the first.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

TRAIN = "anima_exp.train"
FIRST_STEP = (
    "evals=[]",
    "trainer.eval_at_start=false",
    "trainer.max_steps=2",
    "trainer.log_every=1",
)
TOP = 12  # modules shown, each with all that it imports


def seconds(*command, **environment):
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, env=os.environ | environment
    )
    return time.perf_counter() - begun


def first_step(folder, tracking):
    """Until metrics.jsonl has the loss of step 1."""
    runs = tempfile.mkdtemp(dir=folder)
    begun = time.perf_counter()
    command = [sys.executable, "-m", TRAIN, *FIRST_STEP, f"runs_dir={runs}", f"tracking={tracking}"]
    environment = os.environ | {"WANDB_MODE": "offline", "ANIMA_EXP_CACHE": f"{folder}/cache"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as run:
        while not any('"loss"' in file.read_text() for file in Path(runs).glob("*/metrics.jsonl")):
            assert run.poll() is None, f"it ended without a step: {' '.join(command)}"
            time.sleep(0.02)
        took = time.perf_counter() - begun
    return took


def imports(*command):
    """{module: milliseconds with all that it imports first}."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *command], capture_output=True, text=True
    )
    lines = re.findall(r"import time: +\d+ \| +(\d+) \| +(\S+)", run.stderr)
    return {module: int(microseconds) / 1000 for microseconds, module in lines}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        empty = f"{folder}/empty"
        Path(empty).mkdir()
        first_step(folder, "none")  # fills the cache
        commands = {
            "import torch": lambda: seconds("torch.version"),
            "train --cfg job": lambda: seconds(TRAIN, "--cfg", "job"),
            "train --help": lambda: seconds(TRAIN, "--help"),
            "train sweep=typo": lambda: seconds(TRAIN, "sweep=typo"),
            "compare --help": lambda: seconds("anima_exp.compare", "--help"),
            "compare EMPTY_FOLDER": lambda: seconds("anima_exp.compare", empty),
            "first step": lambda: first_step(folder, "none"),
            "first step, W&B offline": lambda: first_step(folder, "wandb"),
        }
        found = {name: [] for name in commands}
        for _ in range(rounds):
            for name, measure in commands.items():
                found[name].append(measure())
        for name, times in found.items():
            print(f"{name:24} {median(times):6.2f} s ({min(times):.2f} to {max(times):.2f})")
        print("\nimports of the run until its first step, with all that they import, in ms")
        run = imports(TRAIN, *FIRST_STEP, f"runs_dir={folder}/imports", "tracking=none")
        for module, cost in sorted(run.items(), key=lambda item: -item[1])[:TOP]:
            print(f"{cost:8.0f}  {module}")
        for name in ("wandb", "plotly", "pandas", "scipy.optimize", "torch._inductor.compile_fx"):
            print(f"{run.get(name, 0):8.0f}  {name}" if name in run else f"       -  {name}")


if __name__ == "__main__":
    main()
