"""wandb-workspaces still has what libraries/wandb_workspaces_internals.py uses."""

import pytest

from anima_exp.libraries import wandb_workspaces_internals as internals

pytest.importorskip("wandb_workspaces")


@pytest.fixture(scope="module")
def panels():
    return internals.library("reports.v2")


def test_the_library_takes_a_key_with_dots_for_a_nested_one(panels):
    """Else `axis` and `scatter` are needed no more."""
    column = panels.ParallelCoordinatesPlotColumn(panels.Config("lora.rank"))
    assert column._to_model().accessor != "config:lora.rank.value"


def test_an_axis_names_the_stored_setting_by_its_accessor(panels):
    axis = internals.axis("lora.rank.value", panels.Config("lora.rank"), display_name="rank")
    model = axis._to_model()
    assert (model.accessor, model.display_name) == ("config:lora.rank.value", "rank")


def test_a_scatter_plot_names_the_stored_setting_by_its_x_axis(panels):
    plot = internals.scatter(
        "lora.rank.value",
        x=panels.Config("lora.rank"),
        y=panels.SummaryMetric("loss"),
        title="rank",
    )
    assert plot._to_model().config.x_axis == "config:lora.rank.value"
