"""The report on documents: how long they are, and how they are divided into rows."""

import pytest
from support.byte_tokenizer import byte_tokenizer, local, write_rows

from anima_exp.data.report.build import build
from anima_exp.errors import ConfigError

TEXTS = ["x" * 3, "y" * 25, "z" * 8]


@pytest.fixture
def report(tmp_path):
    def _report(**settings):
        path = write_rows(tmp_path / "a.jsonl", *({"text": text} for text in TEXTS), {"text": ""})
        config = local(path, **{"recipe": "text", "max_tokens": 10, "heldout_rows": 1, **settings})
        return build(
            config, byte_tokenizer(), tokenizer_name="bytes", stops=(), cache=tmp_path / "cache",
            show_rows=3, show_row=None,
        )  # fmt: skip

    return _report


def test_the_lengths_are_those_of_whole_documents_and_of_rows(report):
    found = report()
    assert found.lengths["document"].tolist() == [5, 27, 10]
    assert found.lengths["row"].tolist() == [5, 10, 10, 9, 10]
    assert found.counts == {"documents": 3, "rows": 5, "tokens": 44, "skipped": 1}
    assert found.facts["documents"].startswith("3 in 5 rows of at most 10 tokens; 1 document has")
    assert found.facts["trained on"].startswith("39 of 44 tokens")
    assert found.problems["skipped: column 'text' is empty"] == 1


def test_a_longer_row_is_recommended_for_longer_documents(report):
    assert report().recommendation == "data.max_tokens=32"


def test_a_row_of_a_divided_document_is_shown(report):
    shown = {row.reason: row for row in report().rows}
    divided = next(row for reason, row in shown.items() if "divided" in reason)
    assert divided.location.endswith("a.jsonl, line 2")
    assert divided.parts[0].text == "<s>yyyyyyyyy"
    assert divided.parts[0].trained


def test_held_out_documents_that_are_too_many_are_reported(report):
    assert "data.heldout_rows=3 leaves nothing" in report(heldout_rows=3).split_error


def test_a_setting_for_conversations_is_refused(report):
    with pytest.raises(ConfigError, match=r"^data\.template=chatml is for conversations"):
        report(template="chatml")
