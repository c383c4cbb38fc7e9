"""The page as a reader meets it, in a real browser."""

import json
from itertools import product

import pytest
from support import claims, synthetic
from support.claims import HOSTILE

ON_DISK = "<img src=x onerror=document.title='owned'>"  # a folder's name holds no slash
DRAWN = "document.querySelectorAll('.plot svg path').length"


@pytest.fixture(scope="module")
def grid(tmp_path_factory, written):
    """Twelve runs and one stopped early, with a baseline: every section but the paper's."""
    folder = tmp_path_factory.mktemp("grid")
    places = synthetic.grid(folder / "runs")
    stopped = synthetic.run(folder / "runs" / "stopped", done=False, **{"lora.rank": 8})
    why = {"step": 20, "metric": "heldout_loss", "value": 1.5, "reason": "behind its rung"}
    cells = [(place, []) for place in [*places, stopped]]
    return written(synthetic.sweep(folder / "sweep", cells, stopped={"stopped": why}))


@pytest.fixture(scope="module")
def many(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("many") / "runs"
    synthetic.grid(
        folder, ranks=(2, 4, 8, 16, 32), dropouts=(0.0, 0.05, 0.1, 0.2), seeds=range(25), steps=500
    )
    return written(folder)


@pytest.fixture
def shown(browser, grid):
    """The browser, which shows the grid's page; each test uses a part of the page of its own."""
    return browser.show(grid)


def rows(browser, column):
    """The texts of a column of the leaderboard, as shown."""
    return browser.value(
        "Array.from(document.querySelectorAll('#leaderboard-table tbody tr:not([hidden])'),"
        f" (row) => row.cells[{column}].textContent)"
    )


def choose(browser, name, option):
    browser.value(
        f"(() => {{ const select = document.getElementById('{name}'); select.value = '{option}';"
        "select.dispatchEvent(new Event('change')); })()"
    )
    browser.wait("document.documentElement.dataset.drawn !== undefined")


def test_it_draws_without_a_fault_and_asks_for_nothing(browser, grid):
    claims.opens_without_a_fault_and_asks_for_nothing(browser, grid)
    empty = "Array.from(document.querySelectorAll('.plot')).filter((p) => !p.querySelector('svg'))"
    assert browser.value(f"({empty}).length") == 0
    assert browser.value(DRAWN) > 50
    assert browser.value("document.querySelectorAll('canvas').length") == 0


def test_the_leaderboard_sorts_by_click_and_by_keyboard(shown):
    ranks = rows(shown, 0)
    head = "document.querySelectorAll('#leaderboard-table thead button')"
    score = "document.querySelector('#leaderboard-table thead th.score button')"
    shown.value(f"{score}.click()")
    shown.value(f"{score}.click()")  # the other way round
    assert rows(shown, 0) == ranks[::-1]
    sorting = "document.querySelector('[aria-sort]')"
    assert shown.value(f"{sorting}.getAttribute('aria-sort')") == "descending"
    shown.value(f"{head}[0].focus()")
    shown.press("Enter")
    assert rows(shown, 0) == ranks


def test_a_phone_shows_the_settings_of_a_row_first(shown):
    shown.resize(390, phone=True)
    heads = shown.value(
        "Array.from(document.querySelectorAll('#leaderboard-table thead th'))"
        ".filter((head) => head.offsetWidth).map((head) => head.textContent)"
    )
    shown.resize(1400)
    assert heads[:4] == ["Rank", "rank", "dropout", "heldout_loss ± 95 %"]


def test_every_score_has_the_interval_that_the_terminal_shows(shown):
    heads = shown.value(
        "Array.from(document.querySelectorAll('#leaderboard-table thead th'), (h) => h.textContent)"
    )
    assert rows(shown, heads.index("exact_match")) == ["46.0 ± 0.0 %"] * 4


def test_a_command_is_copied_or_selected_by_its_button(shown):
    shown.value("document.querySelector('button.copy').click()")
    told = "document.querySelector('button.copy').textContent"
    shown.wait(f"{told} !== 'Copy'", seconds=5)
    assert shown.value(told) in ("Copied", "Selected")
    chosen = shown.value("getSelection().toString()")
    assert chosen == "python -m anima_exp.train -m sweep=lora_search"


OVERLAPS = """(() => {
  const names = ".xtitle, .ytitle, .xtick text, .ytick text, .annotation-text, .cbaxis text";
  const turned = (text) => /rotate\\((?!0)/.test(text.getAttribute("transform") || "");
  const bad = [];
  for (const plot of document.querySelectorAll(".plot")) {
    const texts = Array.from(plot.querySelectorAll(names))
      .filter((text) => text.textContent.trim())
      .map((text) => [text, text.getBoundingClientRect()]);
    texts.forEach(([one, a], at) => texts.slice(at + 1).forEach(([other, b]) => {
      if (turned(one) && turned(other)) return; // their boxes overlap where they do not
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1
          && b.top < a.bottom - 1) bad.push(`${plot.id}: ${one.textContent}, ${other.textContent}`);
    }));
  }
  return bad;
})()"""


@pytest.mark.parametrize("width", [1400, 390, 320])
def test_no_text_of_a_plot_covers_another(browser, written, tmp_path, width):
    """Long names, long values and many of them, on a screen and on a phone."""
    layers = ("all_linear", "attention", "ffn", "key_query", "attention_ffn_out")
    for place, (layer, model) in enumerate(product(layers, ("llama7b", "mistral_7b_v0.3"))):
        for seed in (0, 1):
            synthetic.run(
                tmp_path / "runs" / f"r{place}-{seed}", loss=1 + 0.1 * place, seed=seed,
                **{"lora.target_modules": layer, "model.name": model, "model.source": model,
                   "optimizer.learning_rate": (1e-4, 2e-4, 5e-5)[place % 3]},
            )  # fmt: skip
    browser.open(written(tmp_path / "runs"), width=width, phone=width < 500)
    assert browser.value("document.querySelectorAll('.xtitle, .annotation-text').length") > 5
    assert browser.value(OVERLAPS) == []


CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05)
    / (Math.min(light(a), light(b)) + 0.05);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  const check = (element, colour, least) => {
    if (ratio(colour, behind(element)) < least) low.push(`${element.tagName}.${
      element.getAttribute("class")} ${element.textContent.slice(0, 20)}: ${colour}`);
  };
  for (const element of document.querySelectorAll("body *:not(script, style, svg *)")) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    if (own && element.offsetWidth) check(element, getComputedStyle(element).color, 4.5);
  }
  for (const text of document.querySelectorAll(".xtitle, .ytitle, .xtick text, .ytick text")) {
    check(text, getComputedStyle(text).fill, 4.5);
  }
  for (const line of document.querySelectorAll("#training-plot .js-line")) {
    check(line, getComputedStyle(line).stroke, 3);
  }
  return low;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_and_line_can_be_read_on_its_background(browser, grid, dark):
    """WCAG 2: text has a contrast of 4.5:1 or more, lines of 3:1."""
    browser.open(grid, dark=dark)
    assert browser.value("document.querySelectorAll('#training-plot .js-line').length") > 1
    assert browser.value(CONTRASTS) == []
    browser.darken(False)


def test_the_guard_against_low_contrast_would_notice(browser, grid, tmp_path):
    pale = tmp_path / "pale.html"
    pale.write_text(grid.read_text().replace("--soft: #57616b", "--soft: #a0a8b0"))
    browser.open(pale)
    assert len(browser.value(CONTRASTS)) > 5


def test_numbers_in_a_heat_map_can_be_read_on_every_colour(shown):
    """`readable` takes black or white, whichever has more contrast: 4.5:1 on any colour."""
    labels = shown.value(
        "(() => { const [cells, texts] = document.getElementById('heat-plot').data;"
        "return [texts.text, texts.textfont.color, cells.z.flat().length]; })()"
    )
    assert len(labels[0]) == labels[2] == 4
    assert set(labels[1]) == {"#000000", "#ffffff"}


def test_the_filter_takes_words_and_whole_values(shown):
    for words, expected in (("rank=8", 2), ("rank=6", 0), ("RANK=64 dropout=0.05", 1), ("", 4)):
        shown.value(
            "(() => { const box = document.getElementById('leaderboard-filter');"
            f"box.value = {json.dumps(words)}; box.dispatchEvent(new Event('input')); }})()"
        )
        assert len(rows(shown, 0)) == expected, words
    assert shown.value("document.getElementById('leaderboard-shown').textContent") == ""


def test_curves_are_coloured_by_the_chosen_setting(shown):
    levels = "Array.from(document.querySelectorAll('#curves-levels button'), (b) => b.textContent)"
    assert shown.value(levels) == ["8", "64"]
    choose(shown, "curves-colour", 1)
    assert shown.value(levels) == ["0", "0.05"]
    colours = (
        "new Set(Array.from(document.querySelectorAll('#evaluations-plot path.js-line'),"
        " (line) => line.style.stroke)).size"
    )
    assert shown.value(colours) == 2
    shown.value("document.querySelector('#curves-levels button').click()")
    shown.wait("document.documentElement.dataset.drawn !== undefined")
    assert shown.value(colours) == 1
    assert shown.faults() == []


def test_a_run_stopped_early_is_marked_where_it_ends(shown):
    marks = shown.value("document.getElementById('training-plot').data.at(-1)")
    assert marks["x"] == [20]
    assert marks["text"] == ["stopped<br>stopped early: behind its rung"]
    assert "behind its rung" in shown.value("document.getElementById('failures').textContent")


def test_a_run_with_one_point_is_a_marker(browser, tmp_path, written):
    for rank in (8, 64):
        synthetic.run(tmp_path / "runs" / f"one-{rank}", steps=10, **{"lora.rank": rank})
    synthetic.run(tmp_path / "runs" / "two", steps=20, **{"lora.rank": 8}, seed=1)
    page = browser.show(written(tmp_path / "runs"))
    drawn = page.value("document.getElementById('training-plot').data")
    single = [one for one in drawn if one["mode"] == "markers" and one["x"]]
    assert [(one["x"], one["text"][0].split("<")[0]) for one in single] == [
        ([10, None], "one-8"),
        ([10, None], "one-64"),
    ]
    lines = [one for one in drawn if one["mode"] == "lines"]
    assert [one["line"]["color"] for one in lines] == [one["marker"]["color"] for one in single]
    marks = "document.querySelectorAll('#training-plot .points path').length"
    assert page.value(marks) == 2
    assert page.faults() == []


def test_two_settings_are_never_the_same_one(shown):
    chosen = "['heat-row', 'heat-column'].map((id) => document.getElementById(id).value)"
    before = shown.value(chosen)
    shown.value("document.getElementById('heat-row').focus()")
    choose(shown, "heat-row", before[1])
    assert shown.value(chosen) == before[::-1]


def test_answers_of_any_two_runs_stand_side_by_side(shown):
    names = "Array.from(document.querySelectorAll('#answers article p.soft'), (p) => p.textContent)"
    best, worst = shown.value(names)
    assert best.startswith("tiny-sample-r64-d0.05") and worst.startswith("tiny-sample-r8-d0.0-")
    choose(shown, "run-right", 0)
    assert shown.value(names) == [best, best]


def test_no_page_scrolls_sideways(shown):
    claims.never_scrolls_sideways(shown, "training-plot")


def test_the_plots_follow_the_dark(shown):
    claims.follows_the_dark(shown, "training-plot")


def test_the_run_under_the_pointer_stands_out(shown):
    chosen = "document.querySelectorAll('#training-plot .chosen-run').length"
    assert shown.value(chosen) == 0
    corner = shown.value("""(() => {
        const plot = document.getElementById("training-plot");
        plot.scrollIntoView({ block: "center" });
        const { x, y } = plot.querySelector(".nsewdrag").getBoundingClientRect();
        const { xaxis, yaxis } = plot._fullLayout;
        const [run] = plot.data.filter((line) => line.x.length);
        return [x + xaxis.d2p(run.x[1]), y + yaxis.d2p(run.y[1])];
    })()""")
    for away in (40, 1, 0):  # plotly answers to a pointer that moves
        shown.point(corner[0] - away, corner[1])
    shown.wait(f"{chosen} === 1", seconds=5)
    assert shown.faults() == []


def test_paper_is_light_and_no_wider_than_a_sheet(shown):
    shown.darken(True)
    shown.value("dispatchEvent(new Event('beforeprint'))")
    drawn = "document.querySelector('#heat-plot svg')"
    assert shown.value(f"{drawn}.clientWidth") <= 680
    assert shown.value("document.querySelector('#heat-plot .xtitle').style.fill") == (
        "rgb(27, 33, 38)"
    )
    shown.value("dispatchEvent(new Event('afterprint'))")
    shown.darken(False)
    shown.wait(f"document.documentElement.dataset.drawn && {drawn}.clientWidth > 680")


def test_the_guard_against_faults_would_notice(browser, grid, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(grid.read_text().replace('"effects":[{', '"effects":[{},{'))
    broken.write_text(
        broken.read_text().replace("<title>", '<img src="https://x.invalid/"><title>')
    )
    browser.open(broken)
    faults = " ".join(map(str, browser.faults()))
    assert "effects" in faults and "img-src" in faults


def test_hostile_texts_are_shown_and_never_run(browser, written, tmp_path):
    hostile = {"lora.target_modules": HOSTILE}
    places = [
        synthetic.run(
            tmp_path / "runs" / f"{place}{seed}{ON_DISK}", loss=loss, **{**settings, "seed": seed}
        )
        for place, settings in enumerate((hostile, {}))
        for seed, loss in enumerate((0.5, 0.6))
    ]
    for place in places:
        answers = [{"step": s, "prompt": HOSTILE, "response": HOSTILE} for s in (0, 20)]
        synthetic.lines(place / "generations.jsonl", answers)
    places.append(synthetic.run(tmp_path / "runs" / "failed", failure=HOSTILE))
    table = {"source": HOSTILE, "metric": HOSTILE, "note": HOSTILE, "confirmed": False,
             "rows": [{"lora.target_modules": HOSTILE, "value": 1.0}]}  # fmt: skip
    sweep = synthetic.sweep(
        tmp_path / "sweep", [(place, [HOSTILE]) for place in places], name=HOSTILE,
        question=HOSTILE, command=HOSTILE, published=table, swept=["lora.target_modules", "seed"],
    )  # fmt: skip
    claims.shows_hostile_texts_and_runs_none(browser, written(sweep), title=HOSTILE)
    assert browser.value("document.getElementById('question').textContent") == HOSTILE
    assert browser.value("document.querySelector('.said:not(.before)').textContent") == HOSTILE
    drawn = browser.value("document.getElementById('effects').textContent")
    assert "</script><img" in drawn


def test_the_guard_against_hostile_texts_would_notice(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<html data-drawn=0><title>a</title><script>1{HOSTILE}</html>")
    browser.open(page)
    browser.wait("document.title === 'owned'", seconds=5)
    assert browser.value("document.querySelectorAll('img').length") == 1


def test_a_random_search_has_a_dot_for_each_cell(browser, written, tmp_path):
    for place in range(20):
        rate = 1e-4 * 1.3**place
        loss = 0.5 + (place - 12) ** 2 / 100
        synthetic.run(
            tmp_path / "runs" / f"r{place}", loss=loss, **{"optimizer.learning_rate": rate}
        )
    browser.open(written(tmp_path / "runs"))
    assert browser.faults() == []
    assert browser.value("document.querySelectorAll('#scatter-0 .points path').length") == 20


def test_five_hundred_runs_open_and_draw(browser, many):
    seconds = browser.open(many)
    assert browser.faults() == []
    assert browser.value("JSON.parse(document.getElementById('data').text).runs.length") == 500
    assert browser.value(DRAWN) > 100
    assert seconds < 20
    assert many.stat().st_size < 8_000_000
