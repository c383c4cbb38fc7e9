import re

import pytest
from support import synthetic

from anima_exp.comparison import wandb_report
from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load
from anima_exp.errors import ConfigError, RunError
from anima_exp.results.record import Record

library = pytest.importorskip("wandb_workspaces")


def tracked(folder, **settings):
    """A grid whose runs went to W&B."""
    for run in synthetic.grid(folder, **settings):
        record = Record.load(run)
        Record(**{**vars(record), "wandb": "W&B: https://wandb.ai/me/p/runs/1"}).save(run)
    return build(load([folder]))


def section(comparison):
    made = wandb_report.workspace(comparison, entity="me", project="p")
    return made._to_model().spec.model_dump(by_alias=True, exclude_none=True)["section"]


def panels(comparison):
    found = section(comparison)["panelBankConfig"]["sections"]
    return {
        (one["name"], panel["viewType"], panel["config"].get("chartTitle")): panel["config"]
        for one in found
        for panel in one["panels"]
    }


def test_flat_settings_with_dots_are_found(tmp_path):
    found = panels(tracked(tmp_path))
    scatter = found["Settings", "Scatter Plot", "rank"]
    assert (scatter["xAxis"], scatter["yAxis"]) == (
        "config:lora.rank.value",
        "summary:heldout_loss",
    )
    axes = found["Everything", "Parallel Coordinates Plot", "All settings and heldout_loss"]
    assert [axis["accessor"] for axis in axes["columns"]] == [
        "config:lora.rank.value",
        "config:lora.dropout.value",
        "summary:heldout_loss",
    ]


def test_curves_and_the_run_comparer_are_there(tmp_path):
    names = [view for _, view, _ in panels(tracked(tmp_path))]
    assert names.count("Run History Line Plot") == 2
    assert names.count("Run Comparer") == 1


def test_a_setting_of_names_is_a_bar_for_each(tmp_path):
    for name in ("chip2", "alpaca"):
        synthetic.run(tmp_path / name, **{"data.name": name})
    bars = panels(build(load([tmp_path])))["Settings", "Bar Chart", "data"]
    assert bars["groupBy"] == "data.name.value"
    assert bars["metrics"] == ["heldout_loss"]


def test_runs_are_filtered_by_group_and_folded_over_seeds(tmp_path):
    (runs,) = section(tracked(tmp_path, **{"tracking.group": "lora_search-1f"}))["runSets"]
    (one,) = runs["filters"]["filters"]
    assert (one["key"]["name"], one["value"]) == ("group", "lora_search-1f")
    assert [key["name"] for key in runs["grouping"]] == ["lora.rank.value", "lora.dropout.value"]


def test_without_a_group_runs_are_filtered_by_name(tmp_path):
    (runs,) = section(tracked(tmp_path, seeds=(0,)))["runSets"]
    (one,) = runs["filters"]["filters"]
    assert one["key"]["name"] == "displayName"
    assert len(one["value"]) == 4
    assert runs["grouping"] == []


def told(comparison, error=ConfigError):
    with pytest.raises(error) as raised:
        wandb_report.publish(comparison)
    return str(raised.value)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setattr("anima_exp.results.trackers.wandb_account.has_key", lambda: True)


def test_without_the_library_or_a_key_it_says_what_to_do(tmp_path, monkeypatch):
    comparison = tracked(tmp_path)
    monkeypatch.setattr("anima_exp.results.trackers.wandb_account.has_key", lambda: False)
    assert told(comparison) == (
        "wandb=true needs a W&B key, and there is none. Run wandb login once."
    )
    monkeypatch.setattr(wandb_report, "find_spec", lambda _: None)
    assert told(comparison) == (
        "wandb=true needs wandb-workspaces: pip install 'anima-exp[wandb-report]'"
    )


def test_runs_that_never_went_there_are_refused(tmp_path, key):
    synthetic.grid(tmp_path)
    assert told(build(load([tmp_path]))) == (
        "wandb=true: none of the runs was sent to W&B. Train with tracking=wandb. For offline "
        "runs, record.json has the command that syncs them."
    )


def test_runs_of_two_projects_are_refused(tmp_path, key):
    tracked(tmp_path / "a", seeds=(0,), **{"tracking.project": "p"})
    tracked(tmp_path / "b", seeds=(0,), **{"tracking.project": "q"})
    comparison = build(load([tmp_path / "a", tmp_path / "b"]))
    assert (
        told(comparison)
        == "wandb=true: the runs are in several projects (/p, /q). Give runs of one."
    )


def test_what_wandb_answers_is_one_line(tmp_path, key, monkeypatch):
    def refused(*_, **__):
        raise ValueError("permission denied\nand more")

    monkeypatch.setattr(wandb_report, "_save", refused)
    message = told(tracked(tmp_path), RunError)
    assert re.fullmatch(r"W&B did not take the comparison: permission denied.*offline\.", message)
