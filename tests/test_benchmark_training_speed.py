"""The benchmark of training speed says what it needs, and compares like with like."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training_speed.py"


@pytest.fixture
def training_speed(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import training_speed

    return training_speed


def found(seconds):
    return {
        "tokens": [100] * 4,
        "seconds": [9.0, 9.0, seconds, seconds],
        "losses": [3.0, 2.5, 2.25, 2.0],
        "memory_gib": 1.5,
    }


def test_the_table_compares_within_a_precision_and_leaves_warm_up_out(training_speed):
    rows = training_speed.table(
        {
            ("ours", "fp32"): found(1.0),
            ("ours", "bf16"): found(0.5),
            ("TRL, padded", "bf16"): found(2.0),
            ("TRL, packed", "bf16"): {"failed": "ModuleNotFoundError: No module named 'trl'"},
        }
    ).splitlines()[2:]
    assert rows == [
        "| ours | fp32 | 100 | 1.50 | 2.0000 | 1.00 x |",
        "| ours | bf16 | 200 | 1.50 | 2.0000 | 1.00 x |",
        "| TRL, padded | bf16 | 50 | 1.50 | 2.0000 | 4.00 x |",
        "| TRL, packed | bf16 | ModuleNotFoundError: No module named 'trl' | | | |",
    ]


def test_without_rows_it_says_what_to_give():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2
    assert "make bench FOLDER=... TOKENIZER=..." in done.stderr


@pytest.mark.slow
def test_ours_and_the_original_way_learn_the_same(training_speed, shared_data):
    done = subprocess.run(
        [sys.executable, SCRIPT, shared_data / "instruction" / "alpaca_en",
         shared_data / "tokenizers" / "llama", "--precision", "fp32", "--steps", "3",
         "--dropout", "0", "--threads", "1", "--only", "ours", "the original's way"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()[-2:]]
    ours, original = (float(row[4]) for row in rows)
    assert ours == pytest.approx(original, abs=2e-4)
