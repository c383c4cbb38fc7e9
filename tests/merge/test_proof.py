"""Merges that went wrong are caught by the proof, and good ones pass it."""

import json
from dataclasses import replace

import pytest

from anima_exp.errors import ModelError
from anima_exp.merge import run as command
from anima_exp.merge.adapter import Adapter


def scaled(adapter, factor):
    updates = {
        name: replace(one, scale=one.scale * factor) for name, one in adapter.updates.items()
    }
    return replace(adapter, updates=updates)


WRONG = {
    "merged twice": lambda own, other: scaled(own, 2),
    "merged not at all": lambda own, other: scaled(own, 0),
    "alpha as the scale": lambda own, other: scaled(own, 64),
    "half of alpha": lambda own, other: scaled(own, 0.5),
    "of another run": lambda own, other: other,
}


@pytest.mark.parametrize("onto", ["base", "dequantized"])
@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_merge_is_refused_and_leaves_nothing(
    mistake, onto, runs, merge, tmp_path, monkeypatch
):
    plan, other = command.plan, Adapter.of(str(runs[1] / "adapter"))
    monkeypatch.setattr(
        command, "plan", lambda config, base, own: plan(config, base, WRONG[mistake](own, other))
    )
    with pytest.raises(ModelError, match=r"not the trained one: it is \d\.\d+ nats per token"):
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}", f"onto={onto}")
    assert list(tmp_path.iterdir()) == []


def test_a_higher_threshold_accepts_it(runs, merge, tmp_path):
    out = tmp_path / "merged"
    with pytest.raises(ModelError, match=r"max_divergence is 1e-05\. Nothing was written\. If"):
        merge(f"run={runs[0]}", f"out={out}", "max_divergence=1e-5")
    merge(f"run={runs[0]}", f"out={out}", "max_divergence=0.2")
    assert json.loads((out / "merge.json").read_text())["max_divergence"] == 0.2
