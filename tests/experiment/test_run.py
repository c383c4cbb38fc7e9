"""A run from end to end on the embedded tiny base: trained, recorded, repeatable."""

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
import torch

from anima_exp.errors import TrainingError
from anima_exp.experiment.run import run
from anima_exp.results import identity
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

pytestmark = pytest.mark.usefixtures("shown")

FEW = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=6", "trainer.batch_size=8",
    "trainer.log_every=1", "trainer.eval_every=3",
    "trainer.save_every=2", "tracking=none",
)  # fmt: skip


@pytest.fixture
def config(compose, tmp_path):
    def _config(*overrides):
        wanted = compose(f"runs_dir={tmp_path}/runs", *FEW, *overrides)
        for evaluation in (wanted.evals.exact_match, wanted.evals.samples):
            if evaluation:
                evaluation.max_new_tokens = 4
        return wanted

    return _config


def folder_of(config):
    from pathlib import Path

    return Path(config.runs_dir) / identity.run_name(config)


def losses(folder):
    return [row["loss"] for row in JsonLinesLog(folder / "metrics.jsonl").rows() if "loss" in row]


def test_a_run_leaves_an_adapter_metrics_and_a_record(config, capsys):
    wanted = config()
    returned = run(wanted)
    said = capsys.readouterr().out
    for told in (
        "in nf4 with double quantization, computed in fp32",
        "LoRA on all_linear, rank 64, alpha 16, dropout 0.05, in fp32",
        "64 training rows, 8 held out, none truncated",
        "6 of 8 rows, 0.75 epochs, about",
        "tokens at once, activation checkpointing none, a dequantized copy of the base; about",
        "adapter  ",
        "next     ",
    ):
        assert told in said
    folder = folder_of(wanted)
    record = Record.load(folder)
    assert record == returned
    assert set(record.scores) == set(record.scores_before) == {"heldout_loss", "exact_match"}
    assert record.steps == 6 and record.starts == 1
    assert record.rows["train"] == 64 and record.rows["heldout"] == 8
    assert record.settings["lora.rank"] == 64
    assert record.versions["torch"] == torch.__version__
    evaluated = [
        r["step"] for r in JsonLinesLog(folder / "metrics.jsonl").rows() if "heldout_loss" in r
    ]
    assert evaluated == [0, 3, 6]
    asked = {r["step"] for r in JsonLinesLog(folder / "generations.jsonl").rows()}
    assert asked == {0, 3, 6}
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == [
        "checkpoint-4",
        "checkpoint-6",
    ]
    assert not list(folder.rglob("training_args.bin"))


def test_a_finished_run_is_recognized_and_not_run_again(config, capsys):
    record = run(config())
    before = (folder_of(config()) / "record.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run(config()) == record
    assert "Already done" in capsys.readouterr().out
    assert (folder_of(config()) / "record.json").stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_run_to_the_last_bit_in_any_thread(config, tmp_path):
    first = run(config(f"run_dir={tmp_path}/a"))
    with ThreadPoolExecutor() as threads:  # where no run may handle signals
        second = threads.submit(run, config(f"run_dir={tmp_path}/b")).result()
    other = run(config(f"run_dir={tmp_path}/c", "seed=1"))
    assert first.scores == second.scores
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")
    assert other.scores != first.scores


def test_the_adapter_loads_with_plain_peft_and_answers_the_same(config):
    wanted = config()
    loss = run(wanted).scores["heldout_loss"]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from anima_exp.data.dataset import prepare
    from anima_exp.evals.heldout import heldout_loss
    from anima_exp.model.base import keep_cpu_4bit_trainable
    from anima_exp.system.paths import cache, tiny_base

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    base = AutoModelForCausalLM.from_pretrained(
        tiny_base(), quantization_config=nf4, dtype=torch.float32
    )
    keep_cpu_4bit_trainable(base)
    model = PeftModel.from_pretrained(base, folder_of(wanted) / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder_of(wanted) / "adapter")
    data = prepare(wanted.data, tokenizer, cache=cache())
    with torch.no_grad():
        again = heldout_loss(model, data.heldout, wanted.evals.heldout)
    assert again == pytest.approx(loss, abs=1e-5)


def test_the_saved_tokenizer_equals_the_one_trained_with(config):
    wanted = config()
    run(wanted)
    from transformers import AutoTokenizer

    from anima_exp.model.tokenizer import load_tokenizer

    ours = load_tokenizer(wanted.model)
    saved = AutoTokenizer.from_pretrained(folder_of(wanted) / "adapter")
    assert saved.backend_tokenizer.to_str() == ours.backend_tokenizer.to_str()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "padding_side"):
        assert getattr(saved, name) == getattr(ours, name)


@pytest.mark.parametrize(
    "overrides",
    [
        ("quant=fp4",),
        ("quant=int8",),
        ("quant=none",),
        ("quant=none", "lora=full_finetune", "optimizer.learning_rate=1e-4"),
        ("trainer.precision=bf16",),
        ("trainer.precision=bf16", "quant=none"),
        ("trainer.activation_checkpointing=full",),
        ("lora=attention", "lora.rank=4", "lora.dtype=bf16", "trainer.precision=bf16"),
        ("optimizer=adamw", "optimizer.schedule=cosine", "optimizer.warmup_ratio=0.4"),
        ("optimizer=paged_adamw_8bit",),
        ("data.train_on_source=true",),
        ("trainer.max_steps=null", "trainer.num_epochs=0.25"),
    ],
    ids=lambda value: " ".join(value),
)
def test_every_way_of_training_lowers_the_loss(config, overrides):
    wanted = config(
        "evals=[heldout]", "trainer.eval_every=null", "trainer.save_every=1000", *overrides
    )
    if not any("steps" in o for o in overrides):
        wanted.trainer.max_steps = 4
    run(wanted)
    record = Record.load(folder_of(wanted))
    assert record.scores["heldout_loss"] < record.scores_before["heldout_loss"]
    if wanted.lora.target_modules.value == "none":
        assert (folder_of(wanted) / "model" / "model.safetensors").exists()
        assert record.parameters["trainable"] == record.parameters["total"]


def test_scores_before_and_after_are_computed_alike(config):
    """A run that changes no weight changes no score, to the last bit."""
    wanted = config(
        "optimizer.learning_rate=1e-30", "trainer.max_steps=2", "trainer.precision=bf16"
    )
    run(wanted)
    record = Record.load(folder_of(wanted))
    assert record.scores == record.scores_before


@pytest.mark.parametrize("average", ["token", "row"])
def test_micro_batches_of_any_size_learn_the_same_with_dropout_too(config, tmp_path, average):
    dry = (
        "lora.dropout=0.5",
        f"trainer.loss_normalization={average}",
        "evals=[]",
        "trainer.max_steps=3",
    )
    run(config(f"run_dir={tmp_path}/whole", "trainer.max_tokens_per_micro_batch=100000", *dry))
    run(config(f"run_dir={tmp_path}/rows", "trainer.max_tokens_per_micro_batch=1", *dry))
    assert losses(tmp_path / "rows") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_a_run_on_a_cpu_says_what_bf16_costs(monkeypatch):
    from anima_exp.config import Precision
    from anima_exp.model.base import slow_precision

    for there, precision, told in ((False, "bf16", "many times"), (True, "bf16", "about twice"),
                                   (False, "fp32", None), (True, "fp32", None)):  # fmt: skip
        monkeypatch.setattr(
            torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda there=there: there, raising=False
        )
        said = slow_precision(Precision(precision), torch.device("cpu"))
        assert said is told or told in said
    assert slow_precision(Precision.bf16, torch.device("cuda", 0)) is None


def test_a_loss_that_is_not_finite_stops_the_run_and_says_why(config):
    wanted = config("optimizer.max_grad_norm=0")
    wanted.optimizer.learning_rate = 1e18  # more than a command line may give
    with pytest.raises(
        TrainingError,
        # Which of the three a processor comes to depends on how it rounds.
        match=r"Step \d+: (the loss is|the gradient is not finite|every gradient is exactly 0).*"
        r"diverged: lower optimizer\.learning_rate",
    ):
        run(wanted)
    assert "diverged" in (folder_of(wanted) / "failure.txt").read_text()
    assert not (folder_of(wanted) / "record.json").exists()


def test_a_run_that_diverges_at_its_last_step_is_not_done(config):
    wanted = config("optimizer.max_grad_norm=0", "trainer.max_steps=1")
    wanted.optimizer.learning_rate = 1e30  # more than a command line may give
    for _ in range(2):  # the second start tells the same
        with pytest.raises(TrainingError, match=r"The heldout_loss is (nan|inf): the run has div"):
            run(wanted)
        assert not (folder_of(wanted) / "record.json").exists()
        assert not (folder_of(wanted) / "adapter").exists()


def test_answers_do_not_inherit_the_habits_of_the_base(config):
    from transformers import GenerationConfig

    from anima_exp.model.adapter import add_lora
    from anima_exp.model.base import load_base
    from anima_exp.model.generation import greedy, inference_mode
    from anima_exp.model.tokenizer import load_tokenizer

    wanted = config()
    tokenizer = load_tokenizer(wanted.model)
    base = load_base(wanted.model, wanted.quant, precision=wanted.trainer.precision)
    model = add_lora(base, wanted.lora)
    prompts = [tokenizer("### Human: 1", add_special_tokens=False)["input_ids"]]

    def answers():
        with inference_mode(model, wanted.trainer.precision):
            return greedy(model, tokenizer, prompts, max_new_tokens=8, batch_size=1)

    plain = answers()
    habits = GenerationConfig(repetition_penalty=9.0, min_new_tokens=8)
    base.generation_config = model.generation_config = habits
    assert answers() == plain
    assert model.generation_config is habits and base.generation_config is habits


def test_batched_answers_equal_those_one_by_one(config):
    from anima_exp.data.dataset import prepare
    from anima_exp.model.base import load_base
    from anima_exp.model.generation import greedy, inference_mode
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.system.paths import cache

    wanted = config()
    tokenizer = load_tokenizer(wanted.model)
    heldout = prepare(wanted.data, tokenizer, cache=cache()).heldout
    base = load_base(wanted.model, wanted.quant, precision=wanted.trainer.precision)
    prompts = [heldout.prompt_ids(number) for number in range(8)]
    assert len({len(prompt) for prompt in prompts}) > 1
    with inference_mode(base, wanted.trainer.precision):
        together = greedy(base, tokenizer, prompts, max_new_tokens=8, batch_size=8)
        alone = greedy(base, tokenizer, prompts, max_new_tokens=8, batch_size=1)
    assert together == alone


def test_a_step_without_a_gradient_stops_the_run(config, monkeypatch):
    from anima_exp.training.step import GradientStep

    def detached(step, rows, cuts, number):
        for parameter in step.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        return torch.ones(())

    monkeypatch.setattr(GradientStep, "_gradients", detached)
    with pytest.raises(TrainingError, match="no trained weight has a gradient"):
        run(config())


def test_evaluation_leaves_the_gradients_of_4_bit_layers_as_they_were(config):
    """On some CPUs bitsandbytes repacks 4-bit weights in evaluation: no gradient passes them."""
    from anima_exp.data.dataset import prepare
    from anima_exp.data.micro_batch import pack_rows, token_weights
    from anima_exp.evals.heldout import heldout_loss
    from anima_exp.model.adapter import add_lora
    from anima_exp.model.base import load_base
    from anima_exp.model.forward import loss_of
    from anima_exp.model.generation import inference_mode
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.model.varlen_attention import packed_attention
    from anima_exp.system.paths import cache

    wanted = config("lora.dropout=0")
    tokenizer = load_tokenizer(wanted.model)
    data = prepare(wanted.data, tokenizer, cache=cache())
    torch.manual_seed(0)
    base = load_base(wanted.model, wanted.quant, precision=wanted.trainer.precision)
    model = add_lora(base, wanted.lora).train()
    layers = [m for m in model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert layers and not any(m.support_avx512bf16_for_cpu for m in layers)

    def gradients():
        model.zero_grad()
        rows = [data.train[number] for number in range(4)]
        with packed_attention(model):
            loss_of(model, pack_rows(rows, range(4), token_weights(rows))).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    before = gradients()
    with inference_mode(model, wanted.trainer.precision):
        heldout_loss(model, data.heldout, wanted.evals.heldout)
    assert torch.equal(gradients(), before)


def test_no_key_reaches_a_file(config, monkeypatch):
    secret = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN", f"hf_{secret}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", secret)
    installed = [name for name in ("wandb", "tensorboard", "mlflow") if find_spec(name)]
    wanted = config(f"tracking=[{','.join(installed)}]", "trainer.max_steps=1")
    run(wanted)
    record = json.loads((folder_of(wanted) / "record.json").read_text())
    assert record["wandb"].startswith("W&B offline; later: wandb sync ")
    assert list(record["tracking"]) == installed
    assert record["tracking"]["wandb"] == record["wandb"]
    files = [path for path in folder_of(wanted).parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_a_broken_tracker_never_stops_training(config, monkeypatch):
    import wandb

    def broken(*_, **__):
        raise RuntimeError("the tracker is on fire")

    monkeypatch.setattr(wandb, "init", broken)
    wanted = config("tracking=wandb", "trainer.max_steps=1")
    run(wanted)
    assert "the tracker is on fire" in Record.load(folder_of(wanted)).wandb
