import io
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from support.byte_tokenizer import byte_tokenizer, local, write_rows

from anima_exp.config import BadRow
from anima_exp.data import source
from anima_exp.data.encode import limits
from anima_exp.data.quality import count_issues, count_leaked
from anima_exp.data.report.console import show
from anima_exp.data.report.examples import example_report
from anima_exp.data.rows import ExampleDataset
from anima_exp.data.tokenize import tokenize
from anima_exp.system.terminal import printable


@pytest.fixture
def report(tmp_path):
    """What the terminal shows for a few rows, as text, and what was found."""

    def _report(*rows, **settings):
        config = local(write_rows(tmp_path / "a.jsonl", *rows), on_bad_row=BadRow.skip, **settings)
        tokenizer, main = byte_tokenizer(), source.training_source(config)
        tokens = tokenize(main, config, tokenizer, cache=tmp_path / "cache")
        rows = ExampleDataset(tokens, np.arange(len(tokens)), limits(config))
        issues = count_issues(rows, before_prompt=1)
        found = example_report(
            rows, main, tokenizer, recipe=config.recipe, tokenizer_name="bytes", issues=issues
        )
        screen = io.StringIO()
        show(found, Console(file=screen, width=200))
        return screen.getvalue(), SimpleNamespace(
            name=main.name, rows=rows, meta=tokens.meta, issues=issues
        )

    return _report


def row(prompt, response):
    return {"prompt": prompt, "response": response}


def test_the_recommendation_can_be_pasted(report):
    text, _ = report(row("p" * 16, "r" * 40))
    assert "\n  data.max_prompt_tokens=32 data.max_response_tokens=48\n" in text


def test_what_the_limits_cut_off_is_counted(report):
    text, _ = report(row("p", "r" * 11), row("p", "r"))
    cut = re.search(r"data.max_response_tokens  .*", text)[0].split()[1:]
    assert cut == ["8", "1", "50.00%", "4", "28.57%"]


def test_bad_rows_are_counted_and_shown_and_do_not_stop_the_report(report):
    text, found = report(row("a", ""), row("a", "b"), row("a", ""), "{")
    assert re.search(r"skipped: column 'response' is empty +2", text)
    assert f"{found.name}, line 4: broken JSON" in text


def test_rows_that_repeat_and_rows_that_contradict_are_told_apart(report):
    rows = [
        row("a", "1"),
        row("a", "1"),
        row("b", "1"),
        row("b", "2"),
        row("b", "2"),
        row("c", "1"),
    ]
    _, found = report(*rows)
    assert found.issues.repeated == 2
    assert found.issues.contradicted == 3


def test_dialogues_without_a_prompt_do_not_contradict_one_another(report):
    assert report(row("", "1"), row("", "2"))[1].issues.contradicted == 0


def test_a_special_token_that_the_text_spells_is_counted(report):
    text, found = report(row("a", "x</s>y"), row("<s>", "y"), row("a", "b"))
    assert (found.meta.spelled, found.meta.ends) == (1, 1)
    assert re.search(r"contain the text of a special token, such as </s> +1 *\n", text)
    assert re.search(r"already begin with BOS or end with EOS +1 *\n", text)
    assert "BOS, EOS: 33.3% of the rows already begin with BOS or end with EOS" in text


def test_columns_that_the_recipe_does_not_read_are_named(report):
    talk = {"history": [["a", "b"]], "system": "", "id": 0}
    text, _ = report(row("a", "b") | talk, row("a", "b") | talk, row("a", "b"))
    recipe = "data.recipe=prompt_response"
    talk = f"parts of conversations in columns that {recipe} does not read: history (2 rows)"
    assert f"left out: {talk}\n" in text
    assert f"unread: columns that {recipe} ignores: id\n" in text


def test_held_out_rows_that_are_trained_on_are_found(report):
    rows = report(row("a", "1"), row("b", "1"), row("a", "1"))[1].rows
    some = [
        ExampleDataset(rows.tokens, np.array(order), rows.limits) for order in ([0, 1], [2], [1])
    ]
    assert count_leaked(some[0], some[1]) == 1
    assert count_leaked(some[1], some[2]) == 0


def test_a_row_is_shown_as_trained_with_its_special_tokens(report):
    text, found = report(row("p", "r" * 20))
    why = "the first row, the first row that is cut, the longest row"
    place = f"{found.name}, line 1 ({why}): 2 prompt and 8 of 21 response tokens"
    assert f"{place}; the loss is computed on 8.\n" in text
    assert "Rows as the model reads them: prompt, ⟦response⟧\n" in text
    assert text.endswith("<s>p⟦rrrrrrrr⟧\n")
    assert report(row("p", "r"))[0].endswith("<s>p⟦r</s>⟧\n")


def test_brackets_in_the_data_are_text_not_style(report):
    text, _ = report(row("[/b]", "[red]x"), max_response_tokens=20)
    assert "<s>[/b]⟦[red]x</s>⟧" in text


def test_the_data_cannot_steer_the_terminal(report):
    assert "\x1b" not in report(row("\x1b[2J", "x"))[0]
    strange = {"col\x1b[2J": "x", "history": "\x1b"}
    text, _ = report(row("a", "b") | strange, recipe="prompt_response")
    assert "\x1b" not in text and "ignores: col\\x1b[2J\n" in text
    assert printable("\x1b[2J\ta\n\x07") == "\\x1b[2J\ta\n\\x07"


def test_the_command_composes_as_train_does(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "anima_exp.data", "data=local", "data.path=nowhere.json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.count("\n") == 1 and run.stderr.startswith("anima_exp: ")
