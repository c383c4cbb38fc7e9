"""The rows of conversations are kept on disk, and their key names all that they depend on."""

import hashlib
import pickle
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from support.chat_rows import chat_config, chat_file, chats, masks_of, row
from support.chat_tokenizers import chat_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from anima_exp.config import BadRow, DataConfig, MixBy, MixSize
from anima_exp.config.data import LengthStatsConfig, RecommendedLength
from anima_exp.data import source
from anima_exp.data.chat import masked_tokens, rows, texts
from anima_exp.data.chat.masked_tokens import MaskedTokenWriter, key, open_masked_tokens
from anima_exp.data.chat.segments import Kind, Segment
from anima_exp.data.chat.templates import named
from anima_exp.data.chat.tokenize import tokenize

ROWS = {
    3: [([1, 2, 3], [Segment(0, 1, Kind.user, 0), Segment(1, 3, Kind.assistant, 1, 1)])],
    5: [
        ([4, 5], [Segment(0, 1, Kind.prompt), Segment(1, 2, Kind.assistant, 2, 1)]),
        (
            [6, 7, 8, 9],
            [
                Segment(0, 1, Kind.history),
                Segment(1, 2, Kind.assistant, 4, 2),
                Segment(2, 3, Kind.tool, 5),
                Segment(3, 4, Kind.assistant, 6, 3),
            ],
        ),
    ],
}


@pytest.fixture
def written(tmp_path):
    with MaskedTokenWriter(tmp_path / "conversations" / "a") as draft:
        for number, each in ROWS.items():
            draft.add(number, [(np.array(ids, dtype=np.int32), parts) for ids, parts in each])
            draft.count(Counter(conversations=1, dropped=0))
        draft.meta.read = 2
        return draft.commit()


def test_what_is_written_is_read_again(written):
    flat = [one for each in ROWS.values() for one in each]
    for tokens in (written, open_masked_tokens(written.folder)):
        assert len(tokens) == 3
        assert [tokens.row(n).tolist() for n in range(3)] == [ids for ids, _ in flat]
        assert [tokens.segments(n) for n in range(3)] == [parts for _, parts in flat]
        assert tokens.rows.tolist() == [3, 5, 5]
        assert (tokens.meta.read, tokens.meta.chat) == (2, {"conversations": 2})
    chosen = np.array([2, 0])
    assert written.answer_counts(chosen).tolist() == [2, 1]
    table = written.tokens_by_kind(chosen)
    assert table.sum(axis=1).tolist() == [4, 3]
    assert table[:, Kind.assistant].tolist() == [2, 2]
    assert [path.name for path in written.folder.parent.iterdir()] == ["a"]  # no draft is left


def test_another_process_maps_the_files_instead_of_a_copy(written):
    assert len(pickle.dumps(written)) < 500
    copy = pickle.loads(pickle.dumps(written))
    assert isinstance(copy.ids.base, np.memmap) or isinstance(copy.ids, np.memmap)
    assert [copy.row(n).tolist() for n in range(3)] == [[1, 2, 3], [4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize("name", ["ids", "starts", "rows", "segments", "segment_starts"])
def test_a_damaged_or_incomplete_folder_is_refused(written, name):
    file = written.folder / f"{name}.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="its bytes have changed"):
        open_masked_tokens(written.folder)
    file.unlink()
    with pytest.raises(OSError):
        open_masked_tokens(written.folder)


@pytest.fixture
def tokens_of(tmp_path):
    def _tokens_of(*given, **settings):
        config = chat_file(tmp_path, *given, **settings)
        main = source.training_source(config)
        return tokenize(main, config, masks_of(config), cache=tmp_path / "cache")

    return _tokens_of


@pytest.mark.parametrize("damage", ["flip", "remove", "foreign", "other statistics"])
def test_a_damaged_or_foreign_folder_is_built_again(tokens_of, damage):
    first = tokens_of(*chats(5))
    ids = first.ids.tolist()
    meta = first.folder / "meta.json"
    if damage == "flip":
        np.save(first.folder / "ids.npy", np.zeros(len(ids), dtype=np.int32))
    elif damage == "remove":
        (first.folder / "segments.npy").unlink()
    elif damage == "foreign":
        for file in first.folder.iterdir():
            file.write_text("not ours")
    else:
        meta.write_text(meta.read_text().replace('"read"', '"other"'))
    again = tokens_of(*chats(5))
    assert again.ids.tolist() == ids
    assert again.folder == first.folder
    assert again.meta == first.meta


# Of a data set, these and no others decide what the rows of conversations are.
DECIDE = {"recipe", "train_on", "thinking", "max_tokens", "too_long", "special_tokens_in_text"}
OTHER = {
    "name": "b", "source": "x/y", "path": "b.jsonl", "subset": "b", "data_files": "b",
    "split": "b", "revision": "b", "max_rows": 7, "template": "gemma", "max_prompt_tokens": 9,
    "max_response_tokens": 9, "train_on_source": True, "eos_when_truncated": True,
    "heldout_rows": 9, "heldout_split": "b", "heldout_path": "b", "heldout_seed": 9,
    "max_train_rows": 9, "on_bad_row": BadRow.skip, "prompt_template": "plain",
    "sample_prompts": ["b"], "exact_answers": True, "answer_pattern": "b",
    "recommended": RecommendedLength(9),
    "length_stats": LengthStatsConfig(1, 1.0, 1.0), "parts": {"b": {}}, "mix_by": MixBy.tokens,
    "mix_size": MixSize.smallest, "mix_total": 9,
}  # fmt: skip
CHANGED = {
    "train_on": "last", "thinking": "keep", "max_tokens": 9, "too_long": "split",
    "special_tokens_in_text": "error",
}  # fmt: skip


def named_by(tokenizer=None, template="chatml", stops=(), recipe=rows.messages, **settings):
    return key(
        settings.pop("fingerprint", "f" * 64),
        recipe,
        chat_config("a.jsonl", **settings),
        named(template),
        tokenizer or chat_tokenizer("bytes"),
        stops,
    )


def test_the_key_changes_with_each_setting_that_the_rows_depend_on():
    keys = [named_by()]
    keys += [named_by(**{name: value}) for name, value in CHANGED.items()]
    keys += [
        named_by(fingerprint="e" * 64),
        named_by(recipe=rows.sharegpt),
        named_by(recipe=texts.oasst1_chat),
        named_by(template="gemma"),
        named_by(tokenizer=chat_tokenizer("first")),
        named_by(tokenizer=chat_tokenizer("bytes", bos=None)),
        named_by(stops=[5]),
        named_by(stops=[5, 6]),
    ]
    assert len({*keys}) == len(keys)
    assert named_by(stops=[6, 5]) == named_by(stops={5, 6})


def test_the_key_depends_on_no_other_setting():
    known = {field.name for field in fields(DataConfig)}
    # A new setting belongs to one of them. If it changes rows, it must change the key too.
    assert known == DECIDE | set(OTHER)
    config = chat_config("a.jsonl")

    def of(config):
        return key("f" * 64, rows.messages, config, named("chatml"), chat_tokenizer("bytes"), ())

    for name, value in OTHER.items():
        assert getattr(config, name) != value, name
        assert of(replace(config, **{name: value})) == of(config), name


# If this fails, an edit changed the ids or segments of some conversation. Then raise
# masked_tokens._FORMAT, so that no cached set of the old kind is used, and change this.
PINNED = {1: "6d537188c79d4ffadffd693e4db2d2bc098364b1d2bd0f45357860d8224f86cf"}


def fixed_tokenizer():
    """A tokenizer without merges, so that no library can train it in another way."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def test_the_rows_of_a_pinned_set_are_the_same_while_the_format_is(tmp_path):
    tool = {"messages": [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 1}}]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "<think>A sum.</think>It is 2."},
    ], "tools": [{"name": "add", "parameters": {}}]}  # fmt: skip
    given = [*chats(4), row("q", "a" * 200, "q", "b", system="S"), row("<|im_end|>", "é"), tool]
    content = hashlib.sha256()
    for settings in (
        {"train_on": "last"}, {"train_on": "all"}, {"thinking": "keep"}, {"thinking": "drop"},
        {"max_tokens": 300, "too_long": "split"},
    ):  # fmt: skip
        config = chat_file(tmp_path, *given, **settings)
        masks = masks_of(config, tokenizer=fixed_tokenizer())
        main = source.training_source(config)
        tokens = tokenize(main, config, masks, cache=tmp_path / "cache")
        content.update(repr([tokens.ids.tolist(), tokens.rows.tolist()]).encode())
        for number in range(len(tokens)):
            parts = [(s.end, s.kind.name, s.message, s.turn) for s in tokens.segments(number)]
            content.update(repr(parts).encode())
    assert {masked_tokens._FORMAT: content.hexdigest()} == PINNED
