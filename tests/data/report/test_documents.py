"""What the report says about documents, which are trained on as a whole."""

from datetime import UTC, datetime

from anima_exp.data.report.page.build import page

WORDS = "Hello! " * 60


def test_documents_are_divided_and_all_of_them_is_trained_on(reported, printed):
    texts = [{"text": "Hello!"}, {"text": WORDS}, {"text": "Bye."}, {"text": ""}]
    report = reported(*texts, recipe="text", template=None, max_tokens=50, heldout_rows=1)
    assert report.size.startswith("4 rows, 3 documents, ")
    assert report.lengths["document"].max() > 50 >= report.lengths["row"].max()
    assert len(report.lengths["document"]) == 3
    assert report.facts["documents"].endswith("; 1 document has more than one row")
    assert [part.trained for row in report.rows for part in row.parts] == [True, True]
    assert [row.reason for row in report.rows] == ["the first row", "a document of several rows"]
    assert report.rows[0].parts[0].text == "<s>Hello!</s>"
    assert sum(count for name, count in report.problems.items() if "skipped" in name) == 1
    text = printed(report)
    assert "data.max_prompt_tokens" not in text and "Recommended" not in text
    html = page(report, now=datetime.now(UTC))
    assert 'id="limits"' not in html and 'id="rows"' in html


def test_a_document_is_as_long_as_its_rows_without_their_shared_tokens(reported):
    whole, divided = (
        reported({"text": WORDS}, {"text": "a"}, recipe="text", template=None, max_tokens=limit)
        for limit in (4000, 50)
    )
    assert whole.lengths["document"].tolist() == divided.lengths["document"].tolist()
    assert len(divided.lengths["row"]) > len(whole.lengths["row"]) == 2
