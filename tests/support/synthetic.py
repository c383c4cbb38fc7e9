"""Run and sweep folders as training leaves them, made in a millisecond each."""

import json
import random
from pathlib import Path

from anima_exp.results.record import Record

SETTINGS = {
    "model.name": "tiny",
    "model.source": "tiny",
    "model.recommended.learning_rate": 2e-3,
    "quant.type": "nf4",
    "lora.target_modules": "all_linear",
    "lora.rank": 64,
    "lora.alpha": 16.0,
    "lora.dropout": 0.05,
    "data.name": "sample",
    "data.source": "sample",
    "data.max_train_rows": None,
    "optimizer.learning_rate": 2e-3,
    "trainer.max_steps": 250,
    "tracking.project": "anima_exp",
    "tracking.entity": None,
    "tracking.group": None,
    "seed": 0,
    "runs_dir": "runs",
    "run_dir": None,
}


def run(folder, /, *, loss=0.5, scores=None, done=True, failure=None, steps=20, **settings):
    """A run's folder; settings by dotted key, as `run(folder, loss=0.5, **{"lora.rank": 8})`."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    every = {**SETTINGS, **settings}
    labels = ("runs_dir", "run_dir", "tracking.", "model.name", "data.name", "model.recommended.")
    relevant = {key: value for key, value in every.items() if not key.startswith(labels)}
    (folder / "settings.json").write_text(json.dumps(relevant))
    scores = {"heldout_loss": loss, "exact_match": 0.46} if scores is None else scores
    rows = [{"step": 0, "heldout_loss": 2.19, "eval_seconds": 1.0}]
    rows += [
        {"step": step, "loss": loss + 1 / step, "tokens": 300 * step, "learning_rate": 2e-3}
        for step in range(10, steps + 1, 10)
    ]
    rows.append({"step": steps, **scores, "eval_seconds": 1.5})
    lines(folder / "metrics.jsonl", rows)
    answers = [{"step": step, "prompt": "2+2?", "response": str(step)} for step in (0, steps)]
    lines(folder / "generations.jsonl", answers)
    if failure:
        (folder / "failure.txt").write_text(f"{failure}\n")
    elif done:
        record(folder.name, every, scores, steps).save(folder)
    return folder


def record(name, settings, scores, steps):
    return Record(
        name=name,
        settings=settings,
        scores=scores,
        scores_before={"heldout_loss": 2.19, "exact_match": 0.155},
        steps=steps,
        tokens=300 * steps,
        rows={"train": 4000, "heldout": 400},
        parameters={"trainable": 1000, "total": 100000},
        train_seconds=50.0,
        eval_seconds=2.5,
        peak_memory_gib=0.68,
        starts=1,
        finished="2026-01-01T00:00:00+00:00",
        data_fingerprint="d1",
        base_fingerprint="b1",
    )


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def sweep(folder, cells, **values):
    """A sweep's folder; `cells` are (run folder, overrides)."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    whole = {
        "name": "lora_search",
        "question": "Which rank is best?",
        "command": "python -m anima_exp.train -m sweep=lora_search",
        "swept": ["lora.rank", "seed"],
        "metric": "heldout_loss",
        "direction": "minimize",
        "cells": [
            {"run": Path(place).name, "folder": str(place), "overrides": overrides}
            for place, overrides in cells
        ],
        "published": None,
        "stopped": {},
        **values,
    }
    (folder / "sweep.json").write_text(json.dumps(whole, ensure_ascii=False))
    return folder


def grid(folder, *, ranks=(8, 64), dropouts=(0.0, 0.05), seeds=(0, 1, 2), noise=0.002, **settings):
    """A whole grid, better with rank and a little with dropout; the folders in order."""
    draw = random.Random(0)
    return [
        run(
            Path(folder) / f"tiny-sample-r{rank}-d{dropout}-s{seed}",
            loss=1.0
            - 0.1 * ranks.index(rank)
            - 0.01 * dropouts.index(dropout)
            + draw.gauss(0, noise),
            **{"lora.rank": rank, "lora.dropout": dropout, "seed": seed, **settings},
        )
        for rank in ranks
        for dropout in dropouts
        for seed in seeds
    ]
