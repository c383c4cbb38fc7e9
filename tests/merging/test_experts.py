"""A mixture of experts from files to a merged model, through the Python API."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from support.small_models import small

import anima_exp as ax
from anima_exp.model import quantized_cache
from anima_exp.system.paths import tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A random Qwen3-MoE with the tiny base's tokenizer."""
    folder = tmp_path_factory.mktemp("moe") / "base"
    vocabulary = json.loads((tiny_base() / "config.json").read_text())["vocab_size"]
    model = small(
        "qwen3_moe", vocab_size=vocabulary, initializer_range=0.05, max_position_embeddings=512
    )
    model.half().save_pretrained(folder)
    for file in tiny_base().glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["frozen", "adapted"])
def trained(request, base, tmp_path_factory):
    """The record of a short run whose experts are frozen, or have adapters."""
    patch = pytest.MonkeyPatch()
    patch.setattr(quantized_cache, "_WORTH_BYTES", 0)
    folder = tmp_path_factory.mktemp("runs")
    config = ax.compose(
        "model=local", f"model.source={base}", "data.max_rows=400", "data.heldout_rows=20",
        "trainer.max_steps=12", "evals=[heldout]", "tracking=none", "lora.dropout=0",
        "optimizer.learning_rate=4e-3", f"lora.experts={request.param}",
        f"run_dir={folder / 'run'}", f"cache_dir={folder / 'cache'}",
    )  # fmt: skip
    record = ax.train(config, verbose=False)
    patch.undo()
    return request.param, record, folder


def test_a_mixture_of_experts_is_trained_and_evaluated_again(trained):
    adapted, record, folder = trained
    weights = load_file(folder / "run" / "adapter" / "adapter_model.safetensors")
    assert any("mlp.experts" in name for name in weights) == adapted
    settings = json.loads((folder / "run" / "adapter" / "adapter_config.json").read_text())
    assert bool(settings["target_parameters"]) == adapted
    before, after = (one["heldout_loss"] for one in (record.scores_before, record.scores_after))
    assert after < before - 0.1
    (cached,) = (folder / "cache" / "bases").glob("base-nf4-*")
    assert len([*cached.glob("experts-*.safetensors")]) == 4
    again = ax.evaluate(record, ["heldout"], cache_dir=str(folder / "cache"))
    assert again["heldout_loss"] == pytest.approx(after, abs=2e-3)


def test_it_answers(trained):
    _, record, folder = trained
    place = {"cache_dir": str(folder / "cache")}
    questions = ["2+2=?", "What is the capital of France?"]
    both = ax.generate(record, questions, temperature=0, max_new_tokens=6, **place)
    assert len(both) == 2
    one = ax.generate(record, questions[0], temperature=0, max_new_tokens=6, **place)
    assert isinstance(one, str)


@pytest.mark.parametrize("target", ["base", "dequantized"])
def test_it_is_merged_into_files_like_those_of_its_base_and_verified(
    trained, base, target, tmp_path
):
    adapted, record, folder = trained
    out = ax.merge(
        record, tmp_path / "out", target=target, verify_rows=8, cache_dir=str(folder / "cache")
    )
    proof = json.loads((out / "merge.json").read_text())["proof"]
    assert proof["merged"]["divergence"] < (2e-5 if target == "dequantized" else 2e-3)
    stored, own = (load_file(one / "model.safetensors") for one in (out, base))
    assert {name: one.shape for name, one in stored.items()} == {
        name: one.shape for name, one in own.items()
    }
    changed = {name for name, one in stored.items() if not torch.equal(one, own[name])}
    experts = {name for name in own if ".experts." in name}
    assert bool(experts & changed) == (adapted or target == "dequantized")
    if experts & changed:
        assert experts <= changed
    assert not any("mlp.gate." in name or "norm" in name for name in changed)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mixtral", {}),
        ("mixtral", {"use_rslora": True}),
        ("mixtral", {"alpha_pattern": {"down_proj": 12}}),
        ("deepseek_v3", {}),
        ("gpt_oss", {}),
        ("llama4", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:The following alpha_pattern keys")  # but PEFT uses them
def test_a_merged_family_is_what_peft_merges(family, settings, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from anima_exp.config import MergeConfig, ModelConfig, Precision, Quantization
    from anima_exp.libraries.peft_experts import keep_names
    from anima_exp.merging.adapter import Adapter
    from anima_exp.merging.base import Base
    from anima_exp.merging.tensor_plan import plan

    small(family).save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    inside = "feed_forward" if family == "llama4" else "mlp"
    with keep_names():
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=2, lora_alpha=3, target_modules=["o_proj"], init_lora_weights=False,
                **settings,
                target_parameters=[f"{inside}.experts.{one}" for one in STACKS],
            ),
        )  # fmt: skip
    adapted.save_pretrained(tmp_path / "adapter")
    merging = MergeConfig(
        model=ModelConfig(name="small", source=str(tmp_path / "base")), dtype=Precision.fp32
    )
    merging.quant.type, merging.trainer.precision = Quantization.none, Precision.fp32
    planned = plan(merging, Base.of(merging.model), Adapter.of(str(tmp_path / "adapter")))
    found = {one.name: planned.merged(one) for one in planned.pieces}
    adapted.merge_and_unload().save_pretrained(tmp_path / "theirs")
    theirs = load_file(tmp_path / "theirs" / "model.safetensors")
    assert found.keys() == theirs.keys()
    for name, one in theirs.items():
        assert torch.allclose(found[name], one.float(), atol=1e-6), name


STACKS = ("gate_up_proj", "down_proj")
