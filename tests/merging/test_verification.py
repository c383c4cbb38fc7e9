"""Merges that went wrong are caught by the proof, and good ones pass it."""

import json
import math
from dataclasses import replace

import pytest
import torch
from support.small_models import small, some_rows

from anima_exp.errors import ConfigError, ModelError
from anima_exp.merging import run as command
from anima_exp.merging.adapter import Adapter
from anima_exp.merging.console import show_verification
from anima_exp.merging.verdict import refuse
from anima_exp.merging.verification import Measured, Verification, VerificationResult


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
    with pytest.raises(ModelError, match=r"differs from the trained one by \d\.\d+ nats per token"):
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}", f"target={onto}")
    assert list(tmp_path.iterdir()) == []


def test_a_higher_threshold_accepts_it(runs, merge, tmp_path):
    out = tmp_path / "merged"
    with pytest.raises(
        ModelError, match=r"max_divergence=1e-05\. Nothing was written\. The adapter may"
    ):
        merge(f"run={runs[0]}", f"out={out}", "max_divergence=1e-5")
    merge(f"run={runs[0]}", f"out={out}", "max_divergence=0.2")
    assert json.loads((out / "merge.json").read_text())["max_divergence"] == 0.2


def figures(trained, again, divergence):
    """A base with loss 2.0, and what came of it."""
    measured = [Measured(2.0, 1.0, 0.5), Measured(trained), Measured(trained, 0.001, 1.0)]
    return VerificationResult(100, *measured, Measured(again, divergence, 0.9))


def test_what_rounding_anew_would_lose_is_a_warning_not_a_refusal(settings, capsys):
    config = settings("adapter=x", "model=tiny", "target=dequantized")
    harmless, far, drowned = (
        figures(1.0, 1.05, 0.05),
        figures(1.0, 1.05, 0.2),
        figures(1.9, 1.95, 0.05),  # little was learnt, and half of it is gone
    )
    for found in (harmless, far, drowned):
        show_verification(config, found, "fp16")
    said = capsys.readouterr().out
    assert said.count("warning") == 2
    assert "again, the merged model differs from the trained one by 0.200 nats per token" in said
    assert (
        "the merged model keeps 100 % of the fall in held-out loss, quantized to nf4 again 50 %"
        in said
    )


def test_a_model_that_learnt_nothing_has_nothing_to_keep(settings, capsys):
    show_verification(settings("adapter=x", "model=tiny"), figures(2.1, 2.1, 0.05), "fp16")
    assert "learnt" not in capsys.readouterr().out


def test_a_divergence_that_is_no_number_is_refused(settings):
    with pytest.raises(ModelError, match="by nan nats per token"):
        refuse(settings("adapter=x", "model=tiny"), Measured(1.0, math.nan), Measured(2.0, 1.0))


def test_a_proof_needs_held_out_rows(settings):
    config = settings("adapter=x", "model=tiny", "data.heldout_rows=0")
    with pytest.raises(ConfigError, match=r"data=sample has no held-out rows, so .* Give data"):
        command.verification.heldout_rows(config)


def test_a_proof_stops_at_its_tokens(tmp_path):
    rows = some_rows((9, 23, 5, 14))  # of which 6, 20, 2 and 11 are labels
    with Verification(rows, most_rows=3, most_tokens=1000, room=tmp_path) as proof:
        assert (len(proof.batches), proof.labels) == (3, 28)
    with Verification(rows, most_rows=4, most_tokens=10, room=tmp_path) as proof:
        assert [len(batch.labels) for batch in proof.batches] == [6, 4]
    assert list(tmp_path.iterdir()) == []


def test_a_divergence_is_what_torch_computes(tmp_path):
    from anima_exp.config import Precision

    trained, other = small(), small(initializer_range=0.1)
    rows = some_rows((9, 23))
    with Verification(rows, most_rows=2, most_tokens=20, room=tmp_path) as proof:
        first = proof.remember(trained, Precision.fp32)
        found = proof.measure(other, Precision.fp32)
        same = proof.measure(trained, Precision.fp32)
    p, q = (
        torch.cat([
            torch.log_softmax(model(torch.tensor(row["input_ids"])[None]).logits[0, 2:-1], -1)
            for row in rows
        ])[:20]
        for model in (trained, other)
    )  # fmt: skip
    expected = torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
    assert found.divergence == pytest.approx(float(expected), rel=1e-4)
    assert found.agreement == pytest.approx(float((p.argmax(1) == q.argmax(1)).float().mean()))
    assert (same.divergence, same.agreement, same.loss) == (0, 1, first.loss)
