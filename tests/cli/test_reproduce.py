"""From the settings of a run alone comes the command line that computes it again."""

import pytest

from anima_exp.cli.reproduce import place, reproduce
from anima_exp.inspection.detail import RunDetail
from anima_exp.inspection.listing import RunSummary, Status
from anima_exp.inspection.next_steps import next_steps
from anima_exp.results import identity


@pytest.fixture
def again(compose):
    """again(*overrides): what reproduces the run of this command line, and the run's name."""

    def _again(*overrides):
        config = compose(*overrides)
        return reproduce(identity.flatten(config)), identity.run_name(config)

    return _again


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=1"],
        ["lora=ffn", "lora.rank=8"],
        ["model=guanaco33b", "data=belle_merge"],
        ["model=llama7b", "data=alpaca", "quant=fp4", "optimizer=adamw"],
        ["evals=[heldout]", "trainer.batch_size=4"],
        ["experiment=table9/7b_oasst1"],
    ],
    ids=" ".join,
)
def test_the_command_line_found_computes_the_same_run(again, overrides):
    found, name = again(*overrides)
    assert found.name == name
    assert found.missing == ()


def test_it_is_as_short_as_what_was_typed(again):
    assert again("seed=1")[0].overrides == ("seed=1",)
    assert again("lora=ffn", "lora.rank=8")[0].overrides == ("lora=ffn", "lora.rank=8")
    assert again("model=guanaco33b", "data=belle_merge")[0].overrides == (
        "model=guanaco33b",
        "data=belle_merge",
    )


def test_settings_of_an_unfinished_run_are_enough(compose):
    config = compose("lora.rank=8", "seed=2")
    found = reproduce(identity.identity_settings(config))
    assert found.name == identity.run_name(config)
    assert set(found.overrides) == {"lora.rank=8", "seed=2"}


def test_a_path_that_was_kept_as_a_hash_is_named_as_missing(compose, tmp_path):
    rows = tmp_path / "rows.json"
    rows.write_text('[{"instruction": "a", "input": "", "output": "b"}]')
    config = compose("data=local", f"data.path={rows}", "data.recipe=alpaca", "trainer.max_steps=3")
    found = reproduce(identity.identity_settings(config))
    assert found.missing == ("data.path",)
    assert "data.path=PATH" in found.overrides
    assert found.name == ""


def test_the_folder_is_added_where_the_settings_do_not_lead_to_it(again, tmp_path):
    found, name = again("seed=1")
    assert place(tmp_path / name, found) == [f"runs_dir={tmp_path}"]
    assert place(tmp_path / "mine", found) == [f"run_dir={tmp_path}/mine"]


def detail(folder, status, step=None):
    summary = RunSummary(folder, folder.name, status, step, 250, 0.0)
    return RunDetail(summary, {}, {}, None, None, None, (), step)


def test_what_to_do_next_follows_from_the_status(again, tmp_path):
    found, name = again("seed=1")
    folder = tmp_path / name
    stopped = next_steps(detail(folder, Status.stopped, 200), found)
    assert [purpose for purpose, _ in stopped] == ["resume", "note"]
    assert stopped[0][1].endswith(f"train seed=1 runs_dir={tmp_path}")
    assert stopped[1][1] == "It continues from the checkpoint of step 200."
    assert next_steps(detail(folder, Status.failed), found)[0][0] == "retry"
    assert next_steps(detail(folder, Status.running), found) == []
    done = dict(next_steps(detail(folder, Status.done, 250), found))
    assert done["ask it"].endswith(f"generate run={folder}")
