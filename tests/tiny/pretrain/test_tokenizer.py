"""The tokenizer reads anything, loads like any other, and keeps rows short."""

from itertools import islice
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from anima_exp.tiny.pretrain.corpus import guanaco_prompt
from anima_exp.tiny.pretrain.tokenizer import VOCABULARY, build_tokenizer
from anima_exp.tiny.world import tasks


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(rows_per_language=3000).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(
    "text",
    [
        "Zwölf Boxkämpfer 🙂👩‍👩‍👧 مرحبا بالعالم שלום",
        "\x00\x01\x07\x7f\u200b\u202e\ufeff\r\n\t  two  spaces ",
        "狗和猫、龘䶮𠀀 12,5 #### Human: ###x",
        "<pad",
        "".join(chr(code) for code in range(0x20, 0x3000, 37)),
    ],
)
def test_any_unicode_survives_the_round_trip(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_special_tokens_come_first(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"]) == [0, 1, 2]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.padding_side == "right"
    assert len(tokenizer) <= VOCABULARY


def test_digits_and_letters_stand_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(ids(tokenizer, "9753")) == 4
    assert len(ids(tokenizer, "k t a m")) == 4


def test_words_of_a_list_are_the_same_tokens_at_every_place(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    for word, items in (("frog", "frog, frog, frog"), ("青蛙", "青蛙、青蛙、青蛙")):
        assert ids(tokenizer, items)[0::2] == ids(tokenizer, word) * 3


@pytest.mark.parametrize("language", ["en", "zh"])
def test_rows_are_short(tokenizer: PreTrainedTokenizerBase, language: str) -> None:
    lengths = [
        len(ids(tokenizer, guanaco_prompt(task.instruction))) + len(ids(tokenizer, task.answer)) + 2
        for task in islice(tasks(language, seed=1), 1000)
    ]
    assert sum(lengths) / len(lengths) < 30
