"""The loss on neutral text before and after training, and whether the difference is chance."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from anima_exp.config import ForgettingConfig, Precision
from anima_exp.config.neutral_text import WIKITEXT
from anima_exp.config.neutral_text import chosen as chosen_text
from anima_exp.errors import AnimaError, ConfigError, RunPaused
from anima_exp.evals import neutral_text, score_names
from anima_exp.evals.forgetting import difference, text_losses
from anima_exp.experiment.preflight import check_inputs
from anima_exp.experiment.run import run
from anima_exp.metrics.catalogue import known
from anima_exp.metrics.metric import metric
from anima_exp.model.generation import inference_mode
from anima_exp.results import identity
from anima_exp.results.journal import TEXT
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.system.paths import tiny_base

SETTINGS = (
    "evals=[forgetting]", "data.max_rows=128", "trainer.max_steps=8", "trainer.eval_every=4",
    "trainer.save_every=2", "tracking=none", "quant=none", "evals.forgetting.max_tokens=1500",
    "optimizer.learning_rate=1e-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(tiny_base())


@pytest.fixture(scope="module")
def trained(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forgetting") / "run"
    return run(compose(*SETTINGS, f"run_dir={folder}"))


def lines(record):
    return {row["step"]: row for row in JsonLinesLog(record.folder / TEXT).rows()}


def plain_losses(model, rows):
    """Row by row in plain transformers: the sum of the losses of its labels."""
    found = []
    for row in rows:
        ids = torch.as_tensor(row["input_ids"])[None]
        labels = torch.as_tensor(row["labels"])[1:]
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].float()
        each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        found.append(float(each.sum()))
    return found


def test_a_short_run_forgets_what_plain_transformers_says_that_it_forgets(trained, tokenizer):
    peft = pytest.importorskip("peft")
    text = neutral_text.read(ForgettingConfig(max_tokens=1500), "tiny", tokenizer)
    assert 50 < len(text.rows) < 100
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    before = plain_losses(base, text.rows)
    after = plain_losses(peft.PeftModel.from_pretrained(base, trained.adapter), text.rows)
    counts = [int((row["labels"] >= 0).sum()) for row in text.rows]
    found = lines(trained)
    assert found[0]["sums"] == pytest.approx(before, abs=1e-3)
    assert found[8]["sums"] == pytest.approx(after, abs=1e-3)
    assert trained.scores_before["neutral_loss"] == pytest.approx(sum(before) / sum(counts))
    assert trained.scores["neutral_loss"] == pytest.approx(sum(after) / sum(counts), rel=1e-4)
    rise = trained.scores["neutral_loss"] - trained.scores_before["neutral_loss"]
    assert trained.scores["forgetting"] == pytest.approx(rise)
    assert trained.scores_before["forgetting"] == 0
    low, high = trained.intervals["forgetting"]
    assert 0 < low < trained.scores["forgetting"] < high


def test_the_record_and_the_card_show_the_interval(trained):
    low, high = (f"{end:.4f}" for end in trained.intervals["forgetting"])
    assert f"({low} to {high})" in str(trained)
    card = (trained.adapter / "README.md").read_text(encoding="utf-8")
    assert f"({low} to {high})" in card
    assert "English tasks of the tiny world; rise of the loss, nats per token" in card


def test_a_resumed_run_compares_with_its_first_start(compose, trained, tmp_path):
    config = compose(*SETTINGS, f"run_dir={tmp_path / 'run'}")
    with pytest.raises(RunPaused):
        run(config, until=5)
    resumed = run(config)
    assert resumed.starts == 2
    assert resumed.scores["forgetting"] == trained.scores["forgetting"]
    assert resumed.intervals == trained.intervals
    assert sorted(lines(resumed)) == [0, 4, 5, 8]
    assert Record.load(resumed.folder).intervals == trained.intervals


def test_a_finished_run_has_the_same_loss_again(trained):
    import anima_exp as ax

    settings = {"evals.forgetting.max_tokens": 1500}
    scores = ax.evaluate(trained, evals=["forgetting"], **settings)
    assert scores["neutral_loss"] == pytest.approx(trained.scores["neutral_loss"], rel=1e-5)
    assert "forgetting" not in scores  # the base is not measured


def test_two_processes_share_the_rows(tokenizer):
    text = neutral_text.read(ForgettingConfig(max_tokens=300), "tiny", tokenizer)
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    parts = []

    class Half:
        def __init__(self, rank):
            self.rank = rank

        def local_slice(self, items):
            return items[self.rank :: 2]

        def all_gather(self, part):
            parts.append(json.loads(json.dumps(part)))  # as process groups send it
            return parts if len(parts) == 2 else [part, dict.fromkeys(range(len(text.rows)), 0.0)]

    with inference_mode(base, Precision.fp32):
        alone = text_losses(base, text, ForgettingConfig())
        text_losses(base, text, ForgettingConfig(), Half(1))
        together = text_losses(base, text, ForgettingConfig(), Half(0))
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    assert together.sums == pytest.approx(alone.sums, abs=1e-4)


def test_the_interval_is_over_rows_and_weighs_them_by_their_tokens():
    before = {"text": "a", "sums": [1.0, 2.0, 6.0], "counts": [1, 2, 4]}
    after = {"text": "a", "sums": [1.5, 3.0, 8.0], "counts": [1, 2, 4]}
    found = difference(before, after)
    assert found.mean == pytest.approx(3.5 / 7)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))  # 0.5 a token in every row
    after["sums"] = [1.5, 3.5, 8.0]
    found = difference(before, after)
    mean = 4 / 7
    residuals = [0.5 - mean, 1.5 - 2 * mean, 2 - 4 * mean]
    error = math.sqrt(3 / 2 * sum(one**2 for one in residuals)) / 7
    assert found.half == pytest.approx(4.302653 * error)  # t of 2 degrees of freedom
    assert difference(None, after) is None
    assert difference({**before, "text": "b"}, after) is None


def test_packing_changes_no_loss(tokenizer):
    text = neutral_text.read(ForgettingConfig(max_tokens=300), "tiny", tokenizer)
    base = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    base.config.use_cache = False
    with inference_mode(base, Precision.fp32):
        packed = text_losses(base, text, ForgettingConfig())
        alone = text_losses(base, text, ForgettingConfig(batch_tokens=1))
    assert packed.sums == pytest.approx(alone.sums, abs=1e-4)
    assert packed.mean == pytest.approx(sum(alone.sums) / sum(alone.counts))


def test_a_text_is_cut_into_rows_that_begin_with_bos(tokenizer, tmp_path):
    file = tmp_path / "news.txt"
    file.write_text("The cat sleeps. " * 400, encoding="utf-8")
    config = ForgettingConfig(path=str(file), row_tokens=32, max_tokens=200)
    text = neutral_text.read(config, "tiny", tokenizer)
    lengths = [len(row["input_ids"]) for row in text.rows]
    assert lengths[:6] == [32] * 6
    assert sum(lengths) <= 200
    for row in text.rows:
        assert row["input_ids"][0] == tokenizer.bos_token_id
        assert row["labels"][0] == -100
        assert np.array_equal(row["labels"][1:], row["input_ids"][1:])
    ids = tokenizer.encode(file.read_text().strip(), add_special_tokens=False)
    read = np.concatenate([row["input_ids"][1:] for row in text.rows])
    assert read.tolist() == ids[: len(read)]
    other = neutral_text.read(replace(config, max_tokens=100), "tiny", tokenizer)
    assert other.fingerprint != text.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"body": "x"}\n', "has no text in the column text. Its columns are body. Set evals"),
        ('{"text": " "}\n', "news.jsonl holds no text in the column text"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(tokenizer, tmp_path, content, message):
    file = tmp_path / "news.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(AnimaError, match=message):
        neutral_text.read(ForgettingConfig(path=str(file)), "tiny", tokenizer)


def test_mistakes_are_found_before_torch_is_imported(compose):
    with pytest.raises(AnimaError, match=r"evals\.forgetting\.path=/nowhere\.txt"):
        check_inputs(compose(*SETTINGS, "evals.forgetting.path=/nowhere.txt"))
    with pytest.raises(ConfigError, match=r"trainer\.eval_at_start=false leaves out"):
        compose(*SETTINGS, "trainer.eval_at_start=false")
    with pytest.raises(ConfigError, match="are both set"):
        compose(*SETTINGS, "evals.forgetting.path=a.txt", "evals.forgetting.source=a/b")


def test_a_row_longer_than_the_context_is_refused(compose, tmp_path):
    file = tmp_path / "news.txt"
    file.write_text("The cat sleeps. " * 4000, encoding="utf-8")
    settings = (f"evals.forgetting.path={file}", "evals.forgetting.row_tokens=1025")
    with pytest.raises(ConfigError, match=r"Set evals\.forgetting\.row_tokens=1024\."):
        run(
            compose(
                *SETTINGS, *settings, "evals.forgetting.max_tokens=5000", f"run_dir={tmp_path}/run"
            )
        )


def test_any_other_base_reads_wikitext(compose):
    config = compose("model=qwen3_4b", "data=alpaca", "evals=[forgetting]")
    chosen = chosen_text(config.evals.forgetting, config.model.source)
    assert (chosen.source, chosen.subset, chosen.split) == (*WIKITEXT, "test")


def test_its_scores_are_known(compose):
    config = compose(*SETTINGS)
    assert score_names.scores(config) == {"neutral_loss", "forgetting"}
    assert {score_names.group(one, {}) for one in ("neutral_loss", "forgetting")} == {
        "evals.forgetting"
    }
    assert metric("forgetting").minimize
    assert metric("forgetting").number(0.1) == "0.1000"
    assert {"neutral_loss", "forgetting"} <= set(known())


def test_a_run_without_it_keeps_its_name(compose):
    assert identity.run_name(compose()) == "tiny-sample-61186a1f32"
