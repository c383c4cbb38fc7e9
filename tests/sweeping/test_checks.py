"""Every metric that a sweep can go by is written in its own unit, wherever it is shown."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from anima_exp.comparison.build import build
from anima_exp.comparison.columns import columns
from anima_exp.comparison.page.leaderboard import leaderboard
from anima_exp.comparison.runs import load
from anima_exp.display import console
from anima_exp.model_card import scores as card
from anima_exp.results.record import Record
from anima_exp.sweeping import checks as sweep_metric
from anima_exp.sweeping import summary
from anima_exp.sweeping.search import summary as search_summary

VALUE = 0.46
WRITTEN = {
    "loss": "0.4600", "heldout_loss": "0.4600", "grad_norm": "0.460",
    "tokens_per_second": "0 tokens/s", "memory_gib": "0.46 GiB", "exact_match": "46.0 %",
    "answers_match": "46.0 %", "choices": "46.0 %", "mmlu": "46.0 %", "mmlu_micro": "46.0 %",
    "cmmlu": "46.0 %", "cmmlu_micro": "46.0 %", "ceval": "46.0 %", "ceval_micro": "46.0 %",
}  # fmt: skip


def test_these_are_all_the_names_that_a_sweep_takes(compose):
    evals = "[heldout,exact_match,samples,answers,choices,mmlu,cmmlu,ceval]"
    config = compose(f"evals={evals}")
    taken = sweep_metric._LOGGED | sweep_metric._scores(config) | {"answers_match"}
    assert taken == set(WRITTEN)


@pytest.fixture
def run(tmp_path):
    """A done run with every one of them as a score."""
    folder = tmp_path / "run"
    folder.mkdir()
    settings = {"seed": 0, "lora.rank": 8, "evals.heldout.max_rows": None}
    settings["evals.exact_match.max_rows"] = None
    record = Record(
        name="run", settings=settings, scores=dict.fromkeys(WRITTEN, VALUE), scores_before={},
        steps=1, tokens=1, rows={"heldout": 0}, parameters={}, train_seconds=1.0, eval_seconds=1.0,
        peak_memory_gib=1.0, starts=1, finished="2026-01-01T00:00:00+00:00", data_fingerprint="",
        base_fingerprint="",
    )  # fmt: skip
    record.save(folder)
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_the_terminal_and_the_card_write_it(run, name):
    record = Record.load(run)
    assert console.number(name, VALUE) == WRITTEN[name]
    measured = card.Measured({name: VALUE}, [])
    found = card.columns(record, before=measured, after=measured)
    assert found[2].texts == [WRITTEN[name]]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_comparison_and_its_page_write_it(run, name):
    found = build(load([run]), metric=name)
    written = {column.heading: column.texts for column in columns(found, found.rows)}
    assert {other: written[other] for other in WRITTEN} == {
        other: [text] for other, text in WRITTEN.items()
    }
    (line,) = leaderboard(found).lines
    assert WRITTEN[name] in [value.text for value in line.values]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_sweep_and_a_search_write_it_at_their_end(run, name, compose, capsys):
    config = compose(f"sweep.metric={name}")
    cell = SimpleNamespace(name="run", folder=run, label="rank=8", config=config, overrides=())
    file = SimpleNamespace(grid=SimpleNamespace(cells=[cell]))
    summary._best(file, [cell])
    best = SimpleNamespace(value=VALUE, user_attrs={"cell": "run"})
    search_summary._best(file, SimpleNamespace(best=best, trials=[]))
    lines = " ".join(capsys.readouterr().out.split())
    assert lines.count(f"best {name} {WRITTEN[name]}: rank=8") == 2


def test_a_column_of_ratings_has_one_number_of_decimals(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    record = Record.load(run)
    replace(record, scores={"speed": 1.5}, settings={**record.settings, "lora.rank": 64}).save(
        other
    )
    replace(record, scores={"speed": 12.25}).save(run)
    found = build(load([run, other]), metric="speed")
    written = {column.heading: column.texts for column in columns(found, found.rows)}
    assert written["speed"] == ["12.25", "1.50"]
