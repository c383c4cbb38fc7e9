"""What is tokenized once, when it is used again, and when it must not be."""

import errno
import json
import multiprocessing
import os
import pickle
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from support.byte_tokenizer import BOS, EOS, byte_tokenizer, local, pairs, write_rows

from anima_exp.config import BadRow
from anima_exp.data import source, tokenize
from anima_exp.data.token_cache import TokenWriter, open_tokens
from anima_exp.errors import DataError

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def tokens_of(tmp_path, cache):
    def _tokens_of(*rows, tokenizer=None, **settings):
        path = write_rows(tmp_path / "a.jsonl", *rows)
        config = local(path, **settings)
        return tokenize.tokenize(
            source.training_source(config), config, tokenizer or byte_tokenizer(), cache=cache
        )

    return _tokens_of


def folders(cache):
    return sorted(path.name for path in (cache / "tokens").iterdir())


def test_prompt_and_response_are_kept_whole_with_bos_and_eos(tokens_of):
    tokens = tokens_of({"prompt": "ab", "response": "c"}, {"prompt": "", "response": "你"})
    assert tokens.prompt(0).tolist() == [BOS, *b"ab"]
    assert tokens.response(0).tolist() == [*b"c", EOS]
    assert tokens.prompt(1).tolist() == [BOS]
    assert tokens.response(1).tolist() == [*"你".encode(), EOS]
    assert tokens.rows.tolist() == [1, 2]


def test_many_batches_are_one_set(tokens_of, monkeypatch):
    monkeypatch.setattr(tokenize, "_BATCH", 3)
    tokens = tokens_of(*pairs(10))
    assert [bytes(tokens.response(i)[:-1].tolist()) for i in range(10)] == [
        f"a{i}".encode() for i in range(10)
    ]


def test_a_second_start_tokenizes_nothing(tokens_of):
    tokens_of(*pairs(3))
    lazy = byte_tokenizer()
    backend = lazy.backend_tokenizer

    class Silent:  # the tokenizer itself, but for its one expensive method
        def to_str(self):
            return backend.to_str()

    lazy.backend_tokenizer = Silent()
    assert len(tokens_of(*pairs(3), tokenizer=lazy)) == 3


def test_lengths_labels_and_the_split_are_not_part_of_the_key(tokens_of, cache):
    tokens_of(*pairs(3))
    tokens_of(
        *pairs(3),
        max_prompt_tokens=3,
        max_response_tokens=3,
        train_on_source=True,
        heldout_rows=2,
        heldout_seed=1,
        max_train_rows=1,
    )
    assert len(folders(cache)) == 1


def test_another_row_recipe_number_of_rows_or_tokenizer_is_another_set(tokens_of, cache):
    row = {"prompt": "a", "response": "b", "completion": "b"}
    tokens_of(row, row)
    tokens_of(row)
    tokens_of(row, row, recipe="prompt_completion")
    tokens_of(row, row, max_rows=1)
    tokens_of(row, row, tokenizer=byte_tokenizer(bos=None))
    larger = byte_tokenizer()
    larger.backend_tokenizer.add_tokens(["ab"])
    tokens_of(row, row, tokenizer=larger)
    assert len(folders(cache)) == 6


def test_a_changed_recipe_of_your_own_is_another_set(tokens_of, cache, tmp_path, monkeypatch):
    code = (
        "from anima_exp.data.example import Example\n"
        "def mine(row):\n"
        "    return Example('', row['a'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "my_recipe_file.py"
    try:
        for text in (code, code + "# changed\n"):
            module.write_text(text)
            tokens_of({"a": "x"}, recipe="my_recipe_file.mine")
    finally:
        sys.modules.pop("my_recipe_file", None)
    assert len(folders(cache)) == 2


@pytest.mark.parametrize("name", ["ids.npy", "starts.npy", "prompts.npy", "rows.npy", "meta.json"])
@pytest.mark.parametrize("size", [None, 0, 20, -4])
def test_a_damaged_set_is_written_again(tokens_of, cache, name, size):
    file = tokens_of(*pairs(3)).folder / name
    content = file.read_bytes()
    file.unlink()
    if size is not None:
        file.write_bytes(content[:size])
    assert tokens_of(*pairs(3)).response(2).tolist() == [*b"a2", EOS]
    assert file.read_bytes() == content
    assert len(folders(cache)) == 1


@pytest.mark.parametrize("name", ["ids", "starts", "prompts", "rows"])
def test_a_flipped_bit_is_noticed_and_the_set_written_again(tokens_of, name):
    file = tokens_of(*pairs(3)).folder / f"{name}.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    with pytest.raises(ValueError, match=r"its bytes have changed|do not belong together"):
        open_tokens(file.parent)
    assert tokens_of(*pairs(3)).response(2).tolist() == [*b"a2", EOS]
    assert file.read_bytes() == content


def test_a_set_of_an_earlier_version_has_no_checksum_and_is_read(tokens_of):
    file = tokens_of(*pairs(3)).folder / "meta.json"
    kept = json.loads(file.read_text())
    del kept["sha256"]
    file.write_text(json.dumps(kept))
    tokens_of(*pairs(3))
    assert json.loads(file.read_text()) == kept


def test_a_read_only_cache_keeps_nothing_and_is_no_hindrance(tokens_of, cache, monkeypatch, capsys):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    mkdir = Path.mkdir
    monkeypatch.setattr(
        Path, "mkdir", lambda self, **how: (refuse if cache in self.parents else mkdir)(self, **how)
    )
    tokens = tokens_of(*pairs(3))
    assert tokens.response(2).tolist() == [*b"a2", EOS]
    assert not cache.exists() and cache not in tokens.folder.parents
    assert capsys.readouterr().err == (
        f"data     {cache} is not writable, so the token ids are kept for this run only\n"
    )


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, cache):
    path = write_rows(tmp_path / "a.jsonl", *pairs(200))  # they fit a buffer of Python
    config = local(path)
    rows = source.training_source(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))  # no file may grow beyond
    try:
        with pytest.raises(DataError) as caught:
            tokenize.tokenize(rows, config, byte_tokenizer(), cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"Token ids cannot be written to {cache}: File too large. ")
    assert folders(cache) == []


def test_files_of_two_sets_mixed_up_are_noticed(tokens_of):
    small, large = tokens_of(*pairs(3)).folder, tokens_of(*pairs(5)).folder
    (small / "prompts.npy").write_bytes((large / "prompts.npy").read_bytes())
    with pytest.raises(ValueError, match="its bytes have changed"):
        open_tokens(small)
    kept = json.loads((small / "meta.json").read_text())
    del kept["sha256"]  # as of an earlier version
    (small / "meta.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="do not belong together"):
        open_tokens(small)
    assert len(tokens_of(*pairs(3))) == 3


def _write(place, barrier):
    with TokenWriter(place) as draft:
        draft.add([(1, [BOS], [7, EOS])])
        barrier.wait()
        assert draft.commit().response(0).tolist() == [7, EOS]


@pytest.mark.parametrize("damaged_before", [False, True])
def test_processes_that_finish_at_once_leave_one_whole_set(cache, damaged_before):
    place = cache / "tokens" / "key"
    if damaged_before:
        place.mkdir(parents=True)
        (place / "ids.npy").write_bytes(b"broken")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write, args=(place, barrier)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert folders(cache) == ["key"]
    assert open_tokens(place).response(0).tolist() == [7, EOS]


def test_a_run_that_stops_half_way_leaves_nothing(tokens_of, cache):
    with pytest.raises(DataError):
        tokens_of(*pairs(2), {"prompt": "a", "response": ""})
    assert folders(cache) == []


def test_a_draft_whose_process_was_killed_a_day_ago_is_removed(tokens_of, cache):
    old, new = cache / "tokens" / ".draft-old", cache / "tokens" / ".draft-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    kept = tokens_of(*pairs(3)).folder.name
    assert folders(cache) == [".draft-new", kept]


def test_a_cache_that_cannot_be_written_is_one_line_with_the_way_out(tokens_of, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError) as caught:
        tokens_of(*pairs(3))
    assert str(caught.value) == (
        f"Token ids cannot be written to {cache}: Not a directory. "
        "Choose another folder with cache_dir=FOLDER or ANIMA_EXP_CACHE."
    )


def test_nothing_that_is_read_back_is_unpickled(tokens_of):
    file = tokens_of(*pairs(3)).folder / "rows.npy"
    np.save(file, np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):
        open_tokens(file.parent)


def test_another_process_is_sent_the_folder_not_the_ids(tokens_of):
    tokens = tokens_of(*[{"prompt": "p" * 1000, "response": "r"}] * 50)
    sent = pickle.dumps(tokens)
    assert len(sent) < 500
    assert pickle.loads(sent).prompt(49).tolist() == tokens.prompt(49).tolist()


def test_the_first_bad_row_stops_with_its_place_and_the_way_out(tokens_of, tmp_path):
    with pytest.raises(DataError) as caught:
        tokens_of(*pairs(1), {"prompt": "a", "response": " "})
    assert str(caught.value) == (
        f"{tmp_path}/a.jsonl, line 2: column 'response' is empty. "
        "Use data.on_bad_row=skip to leave out and count such rows."
    )


def test_skipped_rows_are_counted_by_reason_and_the_first_few_named(tokens_of, tmp_path):
    empty, number = {"prompt": "a", "response": ""}, {"prompt": "a", "response": 3}
    tokens = tokens_of(*[empty] * 7, *pairs(2), number, "{broken", on_bad_row=BadRow.skip)
    assert (tokens.meta.read, tokens.meta.skipped, len(tokens)) == (11, 9, 2)
    assert tokens.meta.reasons["column 'response' is empty"] == 7
    assert tokens.meta.shown[0] == f"{tmp_path}/a.jsonl, line 1: column 'response' is empty"
    assert len(tokens.meta.shown) == 5
    assert tokens.rows.tolist() == [8, 9]


def test_ids_kept_by_a_run_that_skips_do_not_hide_a_bad_row_from_one_that_does_not(tokens_of):
    rows = [*pairs(1), {"prompt": "a"}]
    tokens_of(*rows, on_bad_row=BadRow.skip)
    with pytest.raises(DataError, match="line 2: no column 'response'"):
        tokens_of(*rows)


def test_a_set_without_a_usable_row_shows_the_first_reason(tokens_of):
    with pytest.raises(DataError, match=r"a.jsonl contains no rows\.$"):
        tokens_of()
    message = r"^None of the 2 rows can be used. The first: .*a.jsonl, line 1: no column 'prompt'"
    with pytest.raises(DataError, match=message):
        tokens_of({"q": "a"}, {"q": "b"}, on_bad_row=BadRow.skip)


@pytest.fixture
def own_recipe(tmp_path, monkeypatch):
    def _own_recipe(body):
        (tmp_path / "own_recipe.py").write_text(
            f"from anima_exp.data.example import Example\ndef mine(row):\n    {body}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "own_recipe", raising=False)
        return "own_recipe.mine"

    yield _own_recipe
    sys.modules.pop("own_recipe", None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return Example(row['q'], row['a'])",
            "no column 'a', which data.recipe reads; the row has q",
        ),
        ("return Example('', 3)", "the response is not text but int"),
        ("return Example(row['q'], ' ')", "the response is empty"),
        (
            "return None",
            "the recipe returned NoneType, not an Example, a Conversation or a list of one of them",
        ),
    ],
)
def test_what_a_recipe_of_your_own_gets_wrong_has_a_place_too(tokens_of, own_recipe, body, message):
    with pytest.raises(DataError, match=f"a.jsonl, line 1: {re.escape(message)}"):
        tokens_of({"q": "x"}, recipe=own_recipe(body))


def test_a_fault_in_your_recipe_keeps_its_traceback_and_says_which_row(tokens_of, own_recipe):
    with pytest.raises(ZeroDivisionError) as caught:
        tokens_of({"q": "x"}, recipe=own_recipe("1 / 0"))
    assert caught.value.__notes__[0].endswith("a.jsonl, line 1")
