"""The plan has a row for this machine, and prints no figure that means nothing."""

import math
import re

import pytest

from anima_exp.display import console as screen
from anima_exp.planner.cost import cost
from anima_exp.planner.report import show
from anima_exp.system import hardware


@pytest.fixture
def shown(compose):
    """shown("model=...") -> the plan's text, on a wide terminal."""
    from rich.console import Console

    def _shown(*overrides):
        with pytest.MonkeyPatch.context() as patch:
            console = Console(width=200, record=True, highlight=False)
            patch.setattr(screen, "console", console)
            show(cost(compose(*overrides)))
            return console.export_text()

    return _shown


def row(text, name="this machine "):
    return re.split(r"\s{2,}", next(line for line in text.splitlines() if line.startswith(name)))


def test_a_machine_without_a_gpu_is_its_processor_and_memory(shown, monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: [])
    monkeypatch.setattr(hardware, "cpu", lambda: "Some Processor")
    text = shown("model=tiny")
    assert row(text)[2] == "yes"
    assert row(text)[-1] == "-"
    assert "The speed of this machine (Some Processor) is unknown" in text


def test_a_gpu_of_the_list_has_its_speed_and_another_none(shown, monkeypatch):
    plan = ("model=llama7b", "data=alpaca")
    h100 = hardware.Gpu("GPU-1", "NVIDIA H100 80GB HBM3", 79.1, 9.0)
    monkeypatch.setattr(hardware, "gpus", lambda: [h100])
    text = shown(*plan)
    assert row(text)[2:] == row(text, "H100 ")[2:]
    monkeypatch.setattr(hardware, "gpus", lambda: [hardware.Gpu("GPU-1", "NVIDIA X", 7.9, 9.0)])
    text = shown(*plan)
    assert row(text)[1] == "8"
    assert row(text)[-2:] == ["-", "-"]
    monkeypatch.setattr(hardware, "gpus", lambda: None)
    assert "this machine" not in shown(*plan)


def test_a_tiny_model_waits_for_its_launches_and_has_no_zero(shown):
    text = shown("model=tiny")
    assert not re.search(r"(?<![\d.,])0(\.0+)? (GB|GiB|per token)", text)
    assert "MFLOP" in text
    assert row(text, "H100 ")[-1] == "< 1 min"
    assert "On RTX 4090, L40S, A100, H100, H200 the CPU takes longer to launch the kernels" in text
    large = shown("model=llama7b", "data=alpaca")
    speed = float(row(large, "H100 ")[-2].replace(",", ""))
    assert 1_000 < speed < 50_000
    assert "takes longer to launch" not in large
    few = shown("model=llama7b", "data=alpaca", "trainer.batch_size=8")
    assert "On H100, H200 the CPU takes longer to launch" in few, (
        "8 rows of Alpaca are few for those"
    )


@pytest.mark.parametrize(
    ("kind", "active_billions", "settings"),
    [
        ("mixtral", 12.88 - 0.26, {}),  # without the table of embeddings, 8 of which 2 are used
        ("qwen3_moe", 3.35 - 0.62, {
            "num_hidden_layers": 48, "hidden_size": 2048, "num_experts": 128,
            "num_experts_per_tok": 8, "moe_intermediate_size": 768, "num_attention_heads": 32,
            "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
        }),
    ],
)  # fmt: skip
def test_experts_count_as_often_as_a_token_passes_through_them(
    compose, tmp_path, kind, active_billions, settings
):
    import json

    from anima_exp.config import ActivationCheckpointing

    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind} | settings))
    config = compose(
        "model=local", f"model.source={tmp_path}", "data=alpaca", "trainer.max_steps=1"
    )
    found = cost(config)
    assert math.isclose(
        found.flops(ActivationCheckpointing.none).base, 4 * active_billions * 1e9, rel_tol=0.03
    )
