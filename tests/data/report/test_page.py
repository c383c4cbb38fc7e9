"""The page of a report, as a reader meets it in a real browser."""

import json
from datetime import UTC, datetime

import pytest
from support import claims
from support.claims import HOSTILE

from anima_exp.data.report.page import write_page
from anima_exp.data.report.page.build import page
from anima_exp.errors import RunError


@pytest.fixture(scope="module")
def path(tmp_path_factory, report):
    path = tmp_path_factory.mktemp("page") / "data.html"
    write_page(path, report)
    return path


@pytest.fixture
def shown(browser, path):
    return browser.show(path)


def test_it_draws_a_histogram_for_each_length_without_a_fault(browser, path, report):
    claims.opens_without_a_fault_and_asks_for_nothing(browser, path)
    assert browser.value("document.documentElement.dataset.drawn") == str(len(report.lengths))
    assert browser.value("document.querySelectorAll('.plot .bars').length") == len(report.lengths)


def test_the_histograms_hold_every_length(shown, report):
    drawn = json.loads(shown.value("document.getElementById('data').textContent"))["histograms"]
    assert [sum(one["counts"]) for one in drawn] == [*map(len, report.lengths.values())]
    assert [one["limit"] for one in drawn] == [400] + [None] * (len(drawn) - 1)


def test_the_tables_hold_what_the_terminal_shows(shown, report):
    text = shown.value("document.querySelector('main').textContent")
    for line in (*report.facts.values(), *report.problems, report.recommendation):
        assert line in text


def test_what_is_trained_on_is_marked_and_says_its_message_and_tokens(shown):
    row = "document.querySelector('details.row .said')"
    assert shown.value(f"{row}.textContent").startswith(
        "<s><|im_start|>system\nBe brief.<|im_end|>\n"
    )
    marked = "Array.from({}.querySelectorAll('mark'), (one) => one.{})"
    assert shown.value(marked.format(row, "textContent")) == ["4.<|im_end|>"]
    [about] = shown.value(marked.format(row, "title"))
    assert about.startswith("message 3, answers, trained on: ") and about.endswith(" tokens")
    colour = "getComputedStyle({}.querySelector('{}')).color"
    assert shown.value(colour.format(row, "mark")) != shown.value(colour.format(row, ".user"))


def test_a_tapped_part_says_what_it_is(shown):
    shown.value("document.querySelector('details.row mark').click()")
    about = shown.value("document.querySelector('details.row .about').textContent")
    assert about.startswith("message 3, answers")


def test_no_page_scrolls_sideways(shown):
    claims.never_scrolls_sideways(shown, "lengths-0")


def test_the_plots_follow_the_dark(shown):
    claims.follows_the_dark(shown, "lengths-0")


def test_hostile_texts_are_shown_and_never_run(browser, reported, tmp_path):
    row = {
        "messages": [
            {"role": "user", "content": HOSTILE},
            {"role": "assistant", "content": HOSTILE},
        ]
    }
    found = reported(row | {HOSTILE: "x"}, row)
    write_page(tmp_path / "a.html", found)
    claims.shows_hostile_texts_and_runs_none(
        browser, tmp_path / "a.html", title=f"Data: {found.name}"
    )
    assert browser.value("document.getElementById('rows').textContent").count(HOSTILE) == 2
    assert HOSTILE in browser.value("document.getElementById('problems').textContent")


def test_prompts_and_responses_have_the_page_too(browser, reported, tmp_path):
    rows = [{"prompt": f"q{n}", "response": f"a{n}"} for n in range(3)]
    write_page(tmp_path / "a.html", reported(*rows))
    claims.opens_without_a_fault_and_asks_for_nothing(browser, tmp_path / "a.html")
    marked = "Array.from(document.querySelectorAll('#rows .said'), (row) => row.innerHTML)"
    [first, *_] = browser.value(marked)
    assert first.startswith('<span class="part user" title="prompt: 3 tokens">&lt;s&gt;q0</span>')
    assert '<mark class="part answer" title="response: 3 tokens">a0&lt;/s&gt;</mark>' in first


def test_a_data_set_without_a_row_to_show_has_no_section_for_rows(reported, rows):
    text = page(reported(*rows, show_rows=0), now=datetime.now(UTC))
    assert '<section id="problems"' in text and '<section id="rows"' not in text


def test_a_page_that_cannot_be_written_says_so(tmp_path, report):
    (tmp_path / "a.html").mkdir()
    with pytest.raises(RunError, match=r"Cannot write .*a.html: it is a folder. Give another"):
        write_page(tmp_path / "a.html", report)
