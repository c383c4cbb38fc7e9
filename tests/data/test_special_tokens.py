"""Text stays text, and BOS and EOS stand once."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from support.byte_tokenizer import BOS, EOS, byte_tokenizer, local, pairs, write_rows
from tokenizers import Tokenizer, models

from anima_exp.config import BadRow, DataConfig, ModelConfig
from anima_exp.data import source, token_cache, tokenize
from anima_exp.data.encode import TextEncoder
from anima_exp.data.example import Example, TrackedRow
from anima_exp.data.notes import notes
from anima_exp.errors import DataError
from anima_exp.model.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(ModelConfig(name="tiny", source="tiny"))


@pytest.fixture
def tokens_of(tmp_path):
    def _tokens_of(*rows, **settings):
        config = local(write_rows(tmp_path / "a.jsonl", *rows), **settings)
        return tokenize.tokenize(
            source.training_source(config), config, byte_tokenizer(), cache=tmp_path / "cache"
        )

    return _tokens_of


def ids_of(tokens, number):
    return [*tokens.prompt(number).tolist(), *tokens.response(number).tolist()]


def test_a_special_token_in_a_rows_text_stays_text(tokens_of, tmp_path):
    tokens = tokens_of({"prompt": "<s", "response": "x</s>y"}, {"prompt": "a</s>", "response": "b"})
    assert ids_of(tokens, 0) == [BOS, *b"<s", *b"x</s>y", EOS]
    assert ids_of(tokens, 1) == [BOS, *b"a</s>", *b"b", EOS]
    assert tokens.meta.spelled == 2
    assert tokens.meta.first_spelled == f"{tmp_path}/a.jsonl, line 1: </s>"


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("<s>ab", "cd</s>"),
        ("<s><s>ab", "cd</s>\n</s> \n"),
        (" <s>ab", "cd"),
        ("ab", "cd</s>"),
    ],
)
def test_bos_and_eos_that_the_text_has_already_stand_once(tokens_of, prompt, response):
    tokens = tokens_of({"prompt": prompt, "response": response}, *pairs(3))
    assert ids_of(tokens, 0) == [BOS, *b"ab", *b"cd", EOS]
    assert (tokens.meta.ends, tokens.meta.spelled) == (1, 0)
    [line] = notes([tokens.meta], examples=4, recipe="prompt_response").values()
    assert line == (
        "25.0% of the rows already begin with BOS or end with EOS; each row has both exactly once"
    )


def test_a_dialogue_that_is_all_response_opens_with_bos_once(tokens_of):
    tokens = tokens_of({"text": "<s>ab</s>"}, recipe="oasst1")
    assert ids_of(tokens, 0) == [BOS, *b"ab", EOS]
    assert tokens.prompt(0).tolist() == [BOS]


def test_bos_at_the_start_of_a_response_to_a_prompt_is_text(tokens_of):
    assert ids_of(tokens_of({"prompt": "a", "response": "<s>b"}), 0) == [BOS, *b"a<s>b", EOS]


def test_a_response_of_eos_alone_is_a_bad_row(tokens_of):
    rows = {"prompt": "a", "response": "</s>"}, *pairs(1)
    with pytest.raises(DataError, match="line 1: the response contains nothing but special tokens"):
        tokens_of(*rows)
    assert tokens_of(*rows, on_bad_row=BadRow.skip).meta.skipped == 1


def test_a_recipe_may_mean_the_special_tokens_that_it_writes(tokens_of, tmp_path, monkeypatch):
    (tmp_path / "recipe_with_turns.py").write_text(
        "from anima_exp.data.example import Example\n"
        "def mine(row):\n"
        "    return [Example('a', 'b</s>c', special_tokens=one) for one in (True, False)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tokens = tokens_of({"a": "x"}, recipe="recipe_with_turns.mine")
    assert ids_of(tokens, 0) == [BOS, *b"ab", EOS, *b"c", EOS]
    assert ids_of(tokens, 1) == [BOS, *b"ab</s>c", EOS]
    assert tokens.meta.spelled == 1


def test_ids_kept_before_text_stayed_text_are_not_used(tokens_of, monkeypatch):
    monkeypatch.setattr(token_cache, "_FORMAT", 1)
    old = tokens_of(*pairs(3)).folder
    monkeypatch.undo()
    assert tokens_of(*pairs(3)).folder != old


def test_the_ids_of_ordinary_rows_do_not_change(tiny, tmp_path):
    config = DataConfig(
        name="sample",
        recipe="alpaca",
        source="sample",
        max_rows=300,
        max_prompt_tokens=512,
        max_response_tokens=512,
        prompt_template="alpaca",
    )
    tokens = tokenize.tokenize(source.training_source(config), config, tiny, cache=tmp_path)
    found = hashlib.sha256(np.asarray(tokens.ids, "<i4").tobytes()).hexdigest()
    assert found[:16] == "5b413dcf27393c37"


@pytest.mark.parametrize("name", ["tiny", "llama", "qwen2"])
def test_each_tokenizer_gives_back_a_text_that_spells_its_tokens(name, request):
    if name == "tiny":
        tokenizer = request.getfixturevalue("tiny")
    else:
        folder = request.getfixturevalue("shared_data") / "tokenizers" / name
        tokenizer = load_tokenizer(ModelConfig(name=name, source=str(folder)))
    encoder = TextEncoder(tokenizer)
    for token in encoder.special:
        text = f"a {token} b{token}"
        [ids] = encoder.encode([text])
        assert set(encoder.special.values()).isdisjoint(ids)
        assert tokenizer.decode(ids) == text
        [ids] = encoder.encode([text], special_tokens=True)
        assert ids.count(encoder.special[token]) == 2


def test_a_vocabulary_that_holds_the_token_as_a_piece_of_text_does_not_give_it():
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((letter, -1.0) for letter in "</s>a")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.add_special_tokens(["</s>"])
    encoder = TextEncoder(
        SimpleNamespace(backend_tokenizer=backend, bos_token_id=None, eos_token_id=1)
    )
    [ids] = encoder.encode(["a</s>a"])
    assert "".join(map(backend.id_to_token, ids)) == "a</s>a"
    assert 1 not in ids


def test_a_template_means_its_tokens_and_a_user_does_not():
    encoder = TextEncoder(byte_tokenizer())
    asked = lambda put: f"<s>Q{put('a</s>')}</s>A"  # noqa: E731
    assert encoder.prompts([asked]) == [[BOS, *b"Qa</s>", EOS, *b"A"]]
    assert encoder.prompts([lambda put: put("<s>a")]) == [[BOS, *b"a"]]
    plain = lambda put: put("a")  # noqa: E731
    assert encoder.prompts([plain, asked, plain])[2] == [BOS, *b"a"]


def test_a_row_knows_which_columns_were_read():
    unread: dict[str, int] = {}
    row = TrackedRow({"a": 1, "history": [], "b": 0, "c": " ", "d": "x"})
    assert (row["a"], row.get("d"), "b" in row) == (1, "x", True)
    row.count_unread(unread)
    assert unread == {"b": 1}
    for read_all in (dict, list, lambda row: {**row}, lambda row: row.items()):
        row = TrackedRow({"a": 1})
        read_all(row)
        row.count_unread(unread)
    assert unread == {"b": 1}


def test_an_example_keeps_its_text_where_it_has_no_ends():
    example = Example("a", "b </s> c")
    assert TextEncoder(byte_tokenizer()).without_bos_and_eos(example) is example
