"""This project's own run, as `python -m anima_exp.train` starts it: python ours.py PLACE OUT ...

PRECISION and SETTINGS follow: JSON of the run's settings, and "dropout" as the others have it.
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path

from material import BATCH, batches, composed, ours, report

from anima_exp.experiment.run import run
from anima_exp.system.hardware import keep_freed_memory


def main(place, out, precision, settings="{}"):
    settings = {"dropout": 0.1} | json.loads(settings)
    settings["lora.dropout"] = settings.pop("dropout")
    keep_freed_memory()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        run(
            composed(
                [
                    *ours(place, steps=len(batches(place)) // BATCH),
                    *(f"{name}={value}" for name, value in settings.items()),
                    f"trainer.precision={precision}",
                    f"run_dir={folder}/run",
                ]
            )
        )
        report(out, **steps_of(Path(folder, "run")))


def steps_of(run_folder):
    """Tokens, seconds and loss of each step of a run with trainer.log_every=1."""
    lines = (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "tokens_per_second" in row]
    totals = [0, *(row["tokens"] for row in rows)]
    tokens = [after - before for before, after in itertools.pairwise(totals)]
    rates = [row["tokens_per_second"] for row in rows]
    return dict(
        tokens=tokens,
        seconds=[count / rate for count, rate in zip(tokens, rates, strict=True)],
        losses=[row["loss"] for row in rows],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
