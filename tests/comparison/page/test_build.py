"""What the page's file holds, seen without a browser."""

import json
import re
from html.parser import HTMLParser

import pytest
from support import synthetic

from anima_exp.display.html_page import environment
from anima_exp.errors import RunError

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>&amp;\u2028\x1b[31m"


class Reader(HTMLParser):
    """Every element with its attributes; the texts of the page's own data."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.data, self.words, self._inside = [], "", "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = tag if tag in ("script", "style") else ""
        self._json = dict(attributes).get("type") == "application/json"

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, text):
        if self._inside == "script" and self._json:
            self.data += text
        elif not self._inside:
            self.words += text

    @property
    def sections(self):
        return [found["id"] for tag, found in self.elements if tag == "section"]


def test_the_page_names_nothing_outside_of_itself(tmp_path, written):
    synthetic.grid(tmp_path / "runs")
    page = Reader(written(tmp_path / "runs"))
    named = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert len(named) > 5
    assert [value for value in named if not value.startswith("#") and value != "data:,"] == []
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "runs.html").read_text(), re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style


def test_the_policy_lets_nothing_be_loaded(tmp_path, written):
    synthetic.grid(tmp_path / "runs")
    metas = [found for tag, found in Reader(written(tmp_path / "runs")).elements if tag == "meta"]
    (policy,) = [one["content"] for one in metas if "http-equiv" in one]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"('sha256-[\w+/=]+' ?){2}", rules["script-src"])


def test_what_others_wrote_is_text_in_tables_and_in_data(tmp_path, written):
    synthetic.run(tmp_path / "runs" / "a", **{"lora.target_modules": HOSTILE})
    synthetic.run(tmp_path / "runs" / "b", loss=0.6)
    synthetic.run(tmp_path / "runs" / "c", failure=HOSTILE)
    page = Reader(written(tmp_path / "runs"))
    assert not [tag for tag, _ in page.elements if tag in ("img", "b")]
    seen = HOSTILE.replace("\x1b", r"\x1b")
    assert seen in page.words  # the setting, and why the third run failed
    assert seen in json.loads(page.data)["settings"][0]["levels"]


def test_data_survives_its_embedding():
    value = {"a": f"{HOSTILE}\u2029é中"}
    embedded = environment().from_string("{{ value|tojson }}").render(value=value)
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == value


def test_half_a_character_can_be_written():
    written = environment().from_string("{{ text }}").render(text="\ud83d <")
    assert written == r"\ud83d &lt;"


def test_a_section_with_nothing_to_show_is_left_out(tmp_path, written):
    synthetic.run(tmp_path / "one" / "a")
    assert Reader(written(tmp_path / "one")).sections == [
        "leaderboard", "curves", "generations", "setup",
    ]  # fmt: skip
    synthetic.grid(tmp_path / "grid")
    synthetic.run(tmp_path / "grid" / "failed", failure="no room")
    assert Reader(written(tmp_path / "grid", baseline="lora.rank=8")).sections == [
        "leaderboard", "baseline", "curves", "effects", "pairs", "paths", "generations", "failures",
        "setup",
    ]  # fmt: skip


def test_runs_that_only_failed_make_a_page_too(tmp_path, written):
    synthetic.run(tmp_path / "runs" / "a", failure="no room")
    page = Reader(written(tmp_path / "runs"))
    assert "No run is done yet." in page.words
    assert "no room" in page.words


def test_a_papers_table_says_whether_it_was_checked(tmp_path, written):
    places = synthetic.grid(tmp_path / "runs")
    rows = [{"lora.rank": rank, "value": value} for rank, value in ((8, 61.0), (64, 61.4), (2, 9))]
    for confirmed in (False, True):
        table = {"source": "Table 9", "metric": "MMLU", "confirmed": confirmed, "rows": rows}
        cells = [(place, []) for place in places]
        sweep = synthetic.sweep(tmp_path / f"sweep{confirmed}", cells, published=table)
        words = Reader(written(sweep)).words
        assert ("unconfirmed" in words) is not confirmed
        assert "Next to Table 9" in words
        assert "61.0" in words


def test_the_page_is_whole_and_its_draft_gone(tmp_path, written):
    synthetic.run(tmp_path / "runs" / "a")
    assert written(tmp_path / "runs").read_text().rstrip().endswith("</html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "runs.html"]


def test_a_page_that_cannot_be_written_says_so(tmp_path, written):
    synthetic.run(tmp_path / "runs" / "a")
    (tmp_path / "runs.html").mkdir()
    with pytest.raises(RunError, match=r"Cannot write .*runs.html: it is a folder. Give another"):
        written(tmp_path / "runs")


def test_what_every_row_cost_is_said_once(tmp_path, written):
    synthetic.grid(tmp_path / "runs")
    page = Reader(written(tmp_path / "runs"))
    assert "Each cell used 20 steps, 6 k tokens, 50 s, 0.68 GiB." in page.words
    assert "Memory" not in page.words


def test_settings_that_cannot_be_told_apart_show_no_shares(tmp_path, written):
    synthetic.run(tmp_path / "runs" / "a", loss=0.5, **{"lora.rank": 8, "lora.dropout": 0.1})
    synthetic.run(tmp_path / "runs" / "b", loss=0.6, **{"lora.rank": 16, "lora.dropout": 0.1})
    synthetic.run(tmp_path / "runs" / "c", loss=0.7, **{"lora.rank": 8, "lora.dropout": 0.0})
    assert "effects" not in Reader(written(tmp_path / "runs")).sections


def test_the_seeds_share_is_said_and_not_drawn(tmp_path, written):
    synthetic.grid(tmp_path / "runs")
    page = Reader(written(tmp_path / "runs"))
    assert re.search(r"variance: the seed \d+\.\d %; interactions and chance \d", page.words)
    headings = re.findall(r"<h3>(.*?)</h3>", (tmp_path / "runs.html").read_text())
    assert headings == ["lora.rank", "lora.dropout"]
