"""A plan estimates how long conversations are, without the libraries that a run needs."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support.byte_tokenizer import write_rows
from support.chat_rows import chats, row
from support.chat_tokenizers import chat_tokenizer

from anima_exp.config import TooLong, TrainOn
from anima_exp.data.dataset import prepare
from anima_exp.errors import DataError
from anima_exp.planner.lengths import lengths

TALK = "What is 2+2? The user asks, and the assistant answers. "
TOOL = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "int"}}}}


@pytest.fixture
def composed(compose, tmp_path):
    """The settings of a run on a file of conversations, with a small tokenizer."""
    folder = tmp_path / "tokenizer"
    chat_tokenizer("bytes").save_pretrained(folder)

    def _composed(*rows, **settings):
        file = write_rows(tmp_path / "chats.jsonl", *rows)
        given = {"recipe": "messages", "template": "chatml", "path": file, "heldout_rows": 0}
        return compose(
            "data=local",
            f"model.tokenizer={folder}",
            *(f"data.{name}={getattr(value, 'value', value)}" for name, value in
              (given | settings).items()),
            "evals=[]", "trainer.max_steps=null", "trainer.num_epochs=1",
        )  # fmt: skip

    return _composed


def varied():
    found = [
        row(*(TALK * (1 + (n + part) % 4) for part in range(2 * (1 + n % 4))), system="Be brief.")
        for n in range(20)
    ]
    call = {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {"a": 2}}]}
    turns = [{"role": "user", "content": TALK}, call, {"role": "tool", "content": "2"}]
    found.append({"messages": [*turns, {"role": "assistant", "content": TALK}], "tools": [TOOL]})
    return found


@pytest.mark.parametrize("train_on", list(TrainOn))
def test_the_estimate_is_close_to_what_a_run_reads(composed, tmp_path, train_on):
    config = composed(*varied(), train_on=train_on)
    real = prepare(config.data, chat_tokenizer("bytes"), cache=tmp_path / "cache").train
    found = lengths(config)
    assert found.source == "read from the file"
    assert (found.rows, found.upper_bound) == (21, False)
    assert found.mean_tokens == pytest.approx(real.lengths.mean(), rel=0.1)
    assert found.mean_labels == pytest.approx(real.label_counts.mean(), rel=0.1)


@pytest.mark.parametrize("policy", list(TooLong))
@pytest.mark.parametrize("train_on", ["assistant", "last", "all"])
def test_long_conversations_are_shortened_as_in_the_run(composed, tmp_path, policy, train_on):
    config = composed(*varied(), max_tokens=250, too_long=policy, train_on=train_on)
    real = prepare(config.data, chat_tokenizer("bytes"), cache=tmp_path / "cache").train
    found = lengths(config)
    assert found.rows == pytest.approx(len(real), abs=2)
    assert found.mean_tokens == pytest.approx(real.lengths.mean(), rel=0.15)
    assert found.mean_labels == pytest.approx(real.label_counts.mean(), rel=0.2)
    assert found.largest.longest == 250


def test_rows_that_are_held_out_do_not_count(composed):
    config = composed(*chats(20), heldout_rows=5)
    assert lengths(config).rows == 15
    with pytest.raises(DataError, match=r"data\.heldout_rows=20 leaves nothing to train on"):
        lengths(composed(*chats(20), heldout_rows=20))


def test_a_bad_row_stops_a_plan_as_it_stops_a_run(composed):
    with pytest.raises(DataError, match=r"line 2: message 1 \(user\): the turn is empty"):
        lengths(composed(row("q", "a"), row("", "a")))
    assert lengths(composed(row("q", "a"), row("", "a"), on_bad_row="skip")).rows == 1


def test_dropped_thinking_is_not_counted(composed):
    rows = [row("q", f"<think>{TALK * 9}</think>{TALK}")]
    kept, dropped = (
        lengths(composed(*rows, thinking=thinking)).mean_tokens for thinking in ("keep", "drop")
    )
    assert kept > 3 * dropped


def test_conversations_that_are_all_too_long_stay_unknown(composed):
    found = lengths(composed(row("q", TALK * 9), max_tokens=16))
    assert found.upper_bound
    assert found.mean_tokens == found.largest.longest == 16


def test_unknown_conversations_are_as_long_as_their_limit(compose):
    found = lengths(compose("model=llama7b", "data=longform", "data.recipe=messages",
                            "data.max_tokens=777"))  # fmt: skip
    assert found.mean_tokens == found.mean_labels == found.largest.longest == 777
    assert found.largest.batch_labels == found.largest.batch_tokens


def test_an_estimate_imports_nothing_heavy(composed, tmp_path):
    config = composed(*chats(3))
    program = f"""
import json, sys
from pathlib import Path
from anima_exp.config import DataConfig
from anima_exp.data import source
from anima_exp.planner.conversation_lengths import estimate
data = DataConfig(name="a", recipe="messages", path={config.data.path!r}, max_prompt_tokens=8,
                  max_response_tokens=8, prompt_template="chat")
found = estimate(source.training_source(data), data, Path({str(tmp_path)!r}) / "tokenizer" /
                 "tokenizer.json")
heavy = [name for name in ("torch", "transformers", "datasets") if name in sys.modules]
print(json.dumps([found.used, heavy]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [3, []], done.stderr
    assert np.isfinite(lengths(config).mean_tokens)
