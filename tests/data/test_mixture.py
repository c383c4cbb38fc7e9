"""data=mixture: parts with formats of their own become one data set."""

import re
from dataclasses import replace

import pytest
from support.byte_tokenizer import BOS, EOS, byte_tokenizer, local, pairs, write_rows
from support.chat_tokenizers import chat_tokenizer

from anima_exp.config import MixBy, MixSize, MixturePart, TrainOn
from anima_exp.data import apply_recipe
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.dataset import prepare
from anima_exp.data.part_counts import lines
from anima_exp.data.parts import parts_of
from anima_exp.data.rows import ExampleDataset
from anima_exp.errors import ConfigError, DataError


@pytest.fixture
def files(tmp_path):
    talk = [
        {"messages": [{"role": "user", "content": f"ask {n}"},
                      {"role": "assistant", "content": f"Answer {n}."}]}
        for n in range(6)
    ]  # fmt: skip
    return {
        "pairs": write_rows(tmp_path / "pairs.jsonl", *pairs(20)),
        "talk": write_rows(tmp_path / "talk.jsonl", *talk),
        "docs": write_rows(tmp_path / "docs.jsonl", *({"text": "x" * n} for n in range(1, 11))),
    }


@pytest.fixture
def mixture(files):
    def _mixture(names=("pairs", "docs"), *, weights=None, parts=None, **settings):
        recipes = {"pairs": "prompt_response", "talk": "messages", "docs": "text"}
        given = {
            name: replace(
                MixturePart(path=str(files[name]), recipe=recipes[name]),
                weight=weights and weights[name],
                **(parts or {}).get(name, {}),
            )
            for name in names
        }
        config = local("", heldout_rows=2, recipe="auto", parts=given, **settings)
        return replace(config, path=None, name="mixture")

    return _mixture


def prepared(config, tmp_path, tokenizer=None):
    return prepare(config, tokenizer or byte_tokenizer(), cache=tmp_path / "cache")


def test_each_part_keeps_its_own_format(mixture, tmp_path):
    names = ("pairs", "talk", "docs")
    config = mixture(names, template="chatml", max_tokens=64)
    data = prepared(config, tmp_path, chat_tokenizer("bytes"))
    kinds = {name: type(part) for name, part in data.train.parts.items()}
    assert kinds == {"docs": ChatDataset, "pairs": ExampleDataset, "talk": ChatDataset}
    assert [part.rows for part in data.parts.values()] == [8, 18, 4]
    assert data.chat.template.name == "chatml"
    assert (data.chat.summary.answers, data.chat.summary.rows) == (4, 4)
    labels = data.train[data.train.numbers_of("docs")[0]]["labels"]
    assert (labels >= 0).all()


def test_the_weights_are_shares_of_the_rows(mixture, tmp_path):
    data = prepared(mixture(weights={"pairs": 1, "docs": 1}), tmp_path)
    assert [(part.available, part.rows) for part in data.parts.values()] == [(8, 18), (18, 18)]
    assert [part.share_of_rows for part in data.parts.values()] == [0.5, 0.5]
    cut = prepared(mixture(weights={"pairs": 1, "docs": 1}, mix_size=MixSize.smallest), tmp_path)
    assert [part.rows for part in cut.parts.values()] == [8, 8]
    # The cut is a part of the whole.
    whole = data.train.parts["pairs"].order.tolist()
    assert cut.train.parts["pairs"].order.tolist() == whole[:8]


def test_the_weights_may_be_shares_of_the_tokens(mixture, tmp_path):
    config = mixture(weights={"pairs": 1, "docs": 3}, mix_by=MixBy.tokens, mix_total=4000)
    data = prepared(config, tmp_path)
    shares = {name: part.share_of_tokens for name, part in data.parts.items()}
    assert shares == pytest.approx({"docs": 0.75, "pairs": 0.25}, abs=0.005)
    assert data.counts.train_tokens == pytest.approx(4000, abs=12)


def test_the_rows_do_not_depend_on_the_order_of_the_parts(mixture, tmp_path):
    first, second = (
        prepared(mixture(names), tmp_path) for names in (("pairs", "docs"), ("docs", "pairs"))
    )
    assert first.train.cache_key == second.train.cache_key
    assert first.fingerprint == second.fingerprint


def test_held_out_rows_come_from_each_part_whatever_the_weights(mixture, tmp_path):
    def held(config):
        heldout = prepared(config, tmp_path).heldout
        return [heldout[number]["input_ids"].tolist() for number in range(len(heldout))]

    parts = {"pairs": {"heldout_rows": 3}}
    plain = held(mixture(parts=parts))
    assert len(plain) == 5
    assert plain == held(mixture(parts=parts, weights={"pairs": 9, "docs": 1}))
    assert plain == held(mixture(parts=parts, mix_total=7, max_train_rows=5))


def test_a_row_that_one_part_holds_out_no_other_part_of_the_file_trains_on(files, tmp_path):
    one = MixturePart(path=str(files["pairs"]), recipe="prompt_response")
    parts = {"few": replace(one, heldout_rows=2), "many": replace(one, heldout_rows=8)}
    config = replace(local("", recipe="auto", parts=parts), path=None, name="mixture")
    data = prepared(config, tmp_path)
    trained, held = (
        {rows[number]["input_ids"].tobytes() for number in range(len(rows))}
        for rows in (data.train, data.heldout)
    )
    assert len(held) == 8
    assert not trained & held
    assert data.notes["not trained on"] == "few: 6 rows that another part of its source holds out"


def test_fewer_training_rows_keep_the_shares(mixture, tmp_path):
    config = mixture(weights={"pairs": 2, "docs": 1}, mix_total=30, max_train_rows=15)
    data = prepared(config, tmp_path)
    assert [part.rows for part in data.parts.values()] == [5, 10]


def test_everything_is_counted_over_the_parts(mixture, tmp_path, files):
    files["pairs"].write_text('{"prompt": "p", "response": "123456789"}\n' * 4)
    data = prepared(mixture(weights={"pairs": 1, "docs": 1}), tmp_path)
    assert data.counts.rows == 14
    assert data.counts.train == len(data.train) == 16
    assert data.counts.truncated_responses == 8  # two rows, each four times
    assert data.counts.train_tokens == data.train.lengths.sum()
    assert data.counts.train_tokens == sum(part.tokens for part in data.parts.values())
    assert data.counts.label_tokens == sum(part.label_tokens for part in data.parts.values())
    assert data.notes["documents"].startswith("docs: 10 in 10 rows")


def test_the_overview_has_a_line_for_each_part(mixture, tmp_path):
    config = mixture(weights={"pairs": 1, "docs": 1})
    found = lines(prepared(config, tmp_path).parts)
    assert found["part docs"].startswith("each of 8 rows 2 or 3 times, ")
    assert found["part pairs"].startswith("each of 18 rows once, ")
    assert found["part docs"].endswith("2 held out (text)")
    cut = prepared(mixture(weights={"pairs": 1, "docs": 1}, mix_total=10), tmp_path)
    assert lines(cut.parts)["part pairs"].startswith("5 of 18 rows, ")


def test_a_part_has_the_settings_of_data_unless_it_sets_its_own(mixture):
    config = mixture(
        ("pairs", "talk", "docs"), template="chatml", train_on=TrainOn.last, max_tokens=99,
        parts={"docs": {"max_tokens": 5}},
    )  # fmt: skip
    parts = parts_of(config)
    assert [part.max_tokens for part in parts.values()] == [5, 99, 99]
    # What `data` says about conversations is not for text and for prompts.
    assert [part.template for part in parts.values()] == [None, None, "chatml"]
    assert [part.train_on.value for part in parts.values()] == ["assistant", "assistant", "last"]
    assert [part.prompt_template for part in parts.values()] == ["plain", "plain", "chat"]


def test_an_error_names_the_setting_of_the_part(mixture, tmp_path, files):
    everything = mixture(parts={"docs": {"heldout_rows": 10}})
    line = re.escape(
        "data.parts.docs.heldout_rows=10 leaves nothing to train on: there are 10 rows. Hold out "
        "fewer, for example data.parts.docs.heldout_rows=1."
    )
    for check in (
        lambda: prepared(everything, tmp_path),
        lambda: apply_recipe.check_rows(everything),
    ):
        with pytest.raises(DataError, match=f"^{line}$"):
            check()
    missing = mixture(parts={"docs": {"path": "none.jsonl"}})
    with pytest.raises(DataError, match=r"^data\.parts\.docs\.path=none\.jsonl: no such file"):
        prepared(missing, tmp_path)
    files["docs"].write_text('{"text": ""}\n{"text": "a"}\n{"text": "b"}\n')
    with pytest.raises(
        DataError, match=r"^data\.parts\.docs: .*docs\.jsonl, line 1: column 'text'"
    ):
        prepared(mixture(), tmp_path)


def test_text_in_a_mixture_begins_and_ends_as_alone(mixture, tmp_path):
    data = prepared(mixture(("docs",)), tmp_path)
    rows = [data.train[number]["input_ids"].tolist() for number in range(len(data.train))]
    assert all(row[0] == BOS and row[-1] == EOS for row in rows)


def test_a_data_set_alone_has_no_parts(files, tmp_path):
    assert prepared(local(files["pairs"]), tmp_path).parts == {}


def test_what_the_data_says_about_prompts_is_not_for_a_part_with_conversations(mixture, tmp_path):
    config = mixture(("pairs", "talk"), template="chatml", max_tokens=64, train_on_source=True)
    parts = parts_of(config)
    assert (parts["pairs"].train_on_source, parts["talk"].train_on_source) == (True, False)
    assert len(prepared(config, tmp_path, chat_tokenizer("bytes")).train) > 0
    own = {"talk": {"train_on_source": True}}
    with pytest.raises(
        ConfigError, match=r"data\.parts\.talk\.train_on_source=true is for prompts"
    ):
        prepared(mixture(("pairs", "talk"), parts=own), tmp_path, chat_tokenizer("bytes"))
