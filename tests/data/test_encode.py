from types import SimpleNamespace

import pytest

from anima_exp.data.encode import IGNORE, TruncationLimits, encode, special_ids
from anima_exp.errors import ModelError

BOS, EOS = 256, 257


def pack(prompt, response, **limits):
    limits = TruncationLimits(**({"max_prompt": 8, "max_response": 8} | limits))
    ids, labels = encode([BOS, *prompt], [*response, EOS], limits)
    return ids.tolist(), labels.tolist()


def test_only_the_response_is_learned():
    ids, labels = pack(b"ab", b"cd")
    assert ids == [BOS, *b"ab", *b"cd", EOS]
    assert labels == [IGNORE] * 3 + [*b"cd", EOS]


def test_train_on_source_learns_the_prompt_too_bos_included():
    ids, labels = pack(b"ab", b"cd", train_on_source=True)
    assert labels == ids


def test_a_prompt_keeps_its_start_and_bos_counts():
    ids, labels = pack(b"abc", b"d", max_prompt=3)
    assert ids == [BOS, *b"ab", *b"d", EOS]
    assert labels == [IGNORE] * 3 + [*b"d", EOS]


@pytest.mark.parametrize(("room", "ends_with_eos"), [(3, True), (2, False)])
def test_a_response_cut_short_is_not_taught_to_stop(room, ends_with_eos):
    ids, labels = pack(b"a", b"cd", max_response=room)
    assert (ids[-1] == EOS) is ends_with_eos
    assert len(ids) == 2 + room and labels[-1] == ids[-1]


def test_eos_when_truncated_gives_the_last_place_to_eos():
    ids, _ = pack(b"a", b"cdef", max_response=3, eos_when_truncated=True)
    assert ids == [BOS, *b"a", *b"cd", EOS]


def test_an_empty_prompt_is_bos_alone():
    ids, labels = pack(b"", b"c")
    assert (ids, labels) == ([BOS, *b"c", EOS], [IGNORE, *b"c", EOS])


def test_a_tokenizer_without_bos_gets_none():
    assert special_ids(SimpleNamespace(bos_token_id=None, eos_token_id=5)) == ([], [5])
    assert special_ids(SimpleNamespace(bos_token_id=0, eos_token_id=5)) == ([0], [5])


def test_a_tokenizer_without_eos_is_refused():
    with pytest.raises(
        ModelError, match="has no end-of-sequence token, so a generated answer would never end"
    ):
        special_ids(SimpleNamespace(bos_token_id=1, eos_token_id=None))
