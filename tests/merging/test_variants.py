"""Every variant of LoRA is trained, evaluated and merged as one and the same model."""

import json

import hydra
import pytest
import torch

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import EvaluateConfig
from anima_exp.errors import ConfigError, RunPaused
from anima_exp.evals import report
from anima_exp.experiment.run import run
from anima_exp.merging import run as command
from anima_exp.results.record import Record
from anima_exp.system.paths import shipped

FEW = (
    "data.max_rows=56", "data.heldout_rows=8", "trainer.max_steps=4", "trainer.batch_size=8",
    "evals=heldout", "tracking=none", "lora.rank=6", "optimizer.learning_rate=4e-3",
    "lora.dropout=0.1", "trainer.save_every=2",
)  # fmt: skip
PATTERNS = ("lora.rank_pattern=['(q|up)_proj:3']", "lora.alpha_pattern=[down_proj:40]")
IN_BF16 = ("trainer.precision=bf16", "quant.compute_dtype=bf16")
KINDS = {
    "dora": ("lora.variant=dora", *PATTERNS),
    "pissa with rslora in bf16": (
        "lora.init=pissa", "lora.variant=rslora", *IN_BF16, *PATTERNS,
    ),
    "loftq": ("lora.init=loftq", *PATTERNS),
    "eva": ("lora.init=eva",),
    "embeddings": ("lora.train_embeddings=true", "optimizer.lora_plus_ratio=4"),
    "modules and norms": (
        "lora.target_modules=named", "lora.modules=['.*layers.[13].*(q|v)_proj']",
        "lora.save_modules=[norm,input_layernorm]",
    ),
}  # fmt: skip
MORE_KINDS = {
    "rslora": ("lora.variant=rslora", *PATTERNS),
    "dora in bf16": ("lora.variant=dora", *IN_BF16),
    "pissa": ("lora.init=pissa",),
    "olora": ("lora.init=olora", *PATTERNS),
    "norms in bf16": ("lora.save_modules=[norm,input_layernorm]", *IN_BF16),
}
ALL_KINDS = KINDS | MORE_KINDS
EACH = [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in MORE_KINDS)]


@pytest.fixture(scope="module")
def evaluated():
    """evaluated(run) -> the scores that `anima-exp evaluate run=...` gives."""

    def _evaluated(folder, *more):
        register_schema(EvaluateConfig)
        try:
            with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
                words = expand_run_argument([f"run={folder}", "evals=heldout", *more])
                return report.run(parse(hydra.compose("evaluate", overrides=words)))
        finally:
            register_schema()

    return _evaluated


@pytest.mark.parametrize("kind", EACH)
def test_a_variant_is_the_same_model_in_training_evaluation_and_merge(
    kind, compose, evaluated, settings, tmp_path
):
    folder = tmp_path / "run"
    record = run(compose(*FEW, *ALL_KINDS[kind], f"run_dir={folder}"))
    assert record.scores["heldout_loss"] < record.scores_before["heldout_loss"]
    assert evaluated(folder) == record.scores
    out = tmp_path / "merged"
    command.run(settings(f"run={folder}", f"out={out}", "target=dequantized", "dtype=fp32"))
    proof = json.loads((out / "merge.json").read_text())["proof"]
    most = 1e-7 if "bf16" not in " ".join(ALL_KINDS[kind]) else 3e-3
    assert proof["merged"]["divergence"] < most
    assert proof["base"]["divergence"] > 10 * most


@pytest.mark.parametrize("kind", ["dora", "pissa", "eva", "embeddings"])
def test_a_resumed_run_is_the_uninterrupted_one(kind, compose, tmp_path):
    whole = run(compose(*FEW, *ALL_KINDS[kind], f"run_dir={tmp_path / 'whole'}"))
    again = compose(*FEW, *ALL_KINDS[kind], f"run_dir={tmp_path / 'again'}")
    with pytest.raises(RunPaused):
        run(again, until=2)
    torch.manual_seed(1234)  # nothing depends on the numbers of this process
    assert run(again).scores == whole.scores


def test_the_saved_adapter_of_pissa_is_a_plain_one_on_the_original_base(compose, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    from anima_exp.inference.saved_model import load_saved_model
    from anima_exp.system.paths import tiny_base

    folder = tmp_path / "run"
    plain = ("quant=none", "trainer.precision=fp32", "lora.init=pissa", "lora.variant=rslora")
    run(compose(*FEW, *plain, *PATTERNS, f"run_dir={folder}"))
    about = json.loads((folder / "adapter/adapter_config.json").read_text())
    assert (about["r"], about["init_lora_weights"]) == (12, True)
    assert about["rank_pattern"] == {"(q|up)_proj": 6}
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, folder / "adapter").eval()
    ids = torch.tensor([[5, 17, 30, 42, 8, 90]])
    with torch.no_grad():
        theirs = model(input_ids=ids).logits
        register_schema(EvaluateConfig)
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            config = parse(
                hydra.compose("evaluate", overrides=expand_run_argument([f"run={folder}"]))
            )
        register_schema()
        ours = load_saved_model(config)[0](input_ids=ids).logits
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def test_a_merge_of_loftq_needs_the_weights_that_it_corrects(compose, settings, tmp_path):
    folder = tmp_path / "run"
    run(compose(*FEW, "lora.init=loftq", "trainer.max_steps=1", "evals=[]", f"run_dir={folder}"))
    with pytest.raises(ConfigError, match=r"^target=base does not fit run=.* Use target=deq"):
        command.run(settings(f"run={folder}", f"out={tmp_path / 'out'}", "target=base"))


@pytest.mark.parametrize("kind", ["dora", "embeddings"])
def test_a_trained_variant_is_trained_further_as_it_is(kind, compose, tmp_path):
    from anima_exp.cli import adapter_settings

    first = tmp_path / "first"
    record = run(compose(*FEW, *ALL_KINDS[kind], f"run_dir={first}"))
    words = adapter_settings.with_adapter(
        [*FEW, f"model.adapter={first / 'adapter'}", f"run_dir={tmp_path / 'second'}"]
    )
    run(compose(*words))
    second = Record.load(tmp_path / "second")
    assert second.scores_before == record.scores
    assert second.scores != record.scores
    assert second.settings["lora.variant"] == record.settings["lora.variant"]


def test_a_checkpoint_that_lacks_what_its_layers_subtract_is_no_adapter(compose, tmp_path):
    from anima_exp.errors import ModelError
    from anima_exp.model import adapter_files

    folder = tmp_path / "run"
    run(compose(*FEW, "lora.init=olora", "trainer.max_steps=1", "evals=[]", f"run_dir={folder}"))
    (checkpoint,) = (folder / "checkpoints").glob("checkpoint-*")
    with pytest.raises(ModelError, match=r"is a checkpoint of a run with lora\.init"):
        adapter_files.settings(str(checkpoint))
    assert adapter_files.settings(str(folder / "adapter"))["r"]


def test_patterns_that_overlap_are_saved_so_that_their_order_does_not_matter(compose, tmp_path):
    folder = tmp_path / "run"
    overlapping = ("lora.rank=4", 'lora.rank_pattern=[down_proj:6,".*layers.[0-2].*:2"]',
                   'lora.alpha_pattern=[q_proj:64,".*layers.[0-7].*:8"]')  # fmt: skip
    record = run(compose(*FEW, *overlapping, f"run_dir={folder}"))
    about = json.loads((folder / "adapter/adapter_config.json").read_text())
    assert about["rank_pattern"]["model.layers.0.mlp.down_proj"] == 6
    assert about["rank_pattern"]["model.layers.0.mlp.up_proj"] == 2
    assert about["alpha_pattern"]["model.layers.1.self_attn.q_proj"] == 64
    import anima_exp as ax

    again = ax.evaluate(record, ["heldout"])
    assert again["heldout_loss"] == record.scores["heldout_loss"]
