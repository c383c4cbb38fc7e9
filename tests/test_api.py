"""`import anima_exp as ax`: what it offers, that it is silent, and that its examples are true."""

import ast
import doctest
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest
from support import stand_in_run

import anima_exp as ax
from anima_exp.cli.from_python import words_of
from anima_exp.results import identity
from anima_exp.sweeping import job_process, pool

TINY = (
    "data.max_rows=24", "data.heldout_rows=8", "trainer.batch_size=4", "trainer.max_steps=3",
    "trainer.precision=fp32", "evals=[heldout]", "tracking=none",
)  # fmt: skip
TESTS = str(Path(__file__).parent)
FUNCTIONS = [name for name in ax.__all__ if inspect.isfunction(getattr(ax, name))]


def program(code, **how):
    """Run `code` in a process of its own; what it prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **how
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


# What the package offers.


def test_the_import_takes_less_than_50_ms_and_loads_nothing_heavy():
    heavy = ("torch", "hydra", "omegaconf", "rich", "numpy", "anima_exp.config")
    seconds, loaded = program(
        "import sys, time\nstart = time.process_time()\nimport anima_exp\n"
        f"print(time.process_time() - start)\nprint([m for m in {heavy} if m in sys.modules])"
    )
    assert float(seconds) < 0.05
    assert loaded == "[]"


def test_every_public_name_is_there_and_listed():
    tree = ast.parse(Path(ax.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("anima_exp.")
        for alias in node.names
    }
    assert typed | {"__version__"} == set(ax.__all__) <= set(dir(ax))
    assert all(getattr(ax, name) is not None for name in ax.__all__)
    assert {"compose", "train", "sweep"} <= set(FUNCTIONS)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ax.trian  # noqa: B018


def test_a_function_wins_over_the_module_of_its_name():
    modules = [import_module(f"anima_exp.{name}") for name in ("train", "generate")]
    assert [one.__name__ for one in modules] == ["anima_exp.train", "anima_exp.generate"]
    assert inspect.isfunction(ax.train) and inspect.isfunction(ax.generate)
    lines = program(
        "import anima_exp.train\nfrom anima_exp.train import train\nimport anima_exp as ax\n"
        "print(ax.train.__module__, train.__module__)"
    )
    assert lines == ["anima_exp.api.experiments anima_exp.train"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_has_types_and_a_documented_example(name):
    function = getattr(ax, name)
    hints = [str(one.annotation) for one in inspect.signature(function).parameters.values()]
    hints.append(str(inspect.signature(function).return_annotation))
    assert not any("Any" in hint or "empty" in hint for hint in hints), hints
    for part in ("Raises:", "Examples:", ">>> "):
        assert part in function.__doc__


# compose


@pytest.mark.parametrize(
    "word", ["lora.rnak=8", "model=lama7b", "lora.rank=x", "seed=0,1", "model=[tiny,local]"]
)
def test_a_mistake_has_the_text_of_the_command_line(word, compose):
    with pytest.raises(ax.ConfigError) as ours:
        ax.compose(word)
    printed = subprocess.run(
        [sys.executable, "-m", "anima_exp.train", word], capture_output=True, text=True
    )
    assert printed.stderr == f"anima_exp: {ours.value}\n"


def test_values_of_python_are_settings(compose):
    import numpy

    config = ax.compose(
        "trainer.max_steps=5", evals=["heldout"], lora={"rank": numpy.int64(4), "alpha": 2.0},
        data__sample_prompts=["a, b", 'say "x"'], seed=3, runs=Path("else"),
        quant__double_quant=False, **{"trainer.num_epochs": None},
    )  # fmt: skip
    assert config == compose(
        "trainer.max_steps=5", "evals=[heldout]", "lora.rank=4", "lora.alpha=2.0", "seed=3",
        r'data.sample_prompts=["a, b","say \"x\""]', "runs_dir=else", "quant.double_quant=false",
    )  # fmt: skip
    with pytest.raises(ax.ConfigError, match="seed is of type object, which no setting takes"):
        ax.compose(seed=object())
    with pytest.raises(ax.ConfigError, match="--cfg is an option of the command line"):
        ax.compose("--cfg", "job")


def test_config_files_of_ones_own_are_found_and_named_in_mistakes(tmp_path, monkeypatch):
    (tmp_path / "own/lora").mkdir(parents=True)
    (tmp_path / "own/lora/mine.yaml").write_text("defaults: [all_linear]\nrank: 5\n")
    monkeypatch.chdir(tmp_path)
    assert ax.compose("lora=mine", config_dir="own").lora.rank == 5
    (tmp_path / "own/lora/mine.yaml").write_text("defaults: [all_linear]\nrnak: 5\n")
    with pytest.raises(ax.ConfigError, match=r"^In own/lora/mine\.yaml: There is no setting"):
        ax.compose("lora=mine", config_dir=tmp_path / "own")
    with pytest.raises(ax.ConfigError, match="config_dir=else: there is no such folder"):
        ax.compose(config_dir="else")


def test_threads_compose_at_the_same_time():
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append((n, ax.compose(f"seed={n}").seed)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(n, n) for n in range(4)]


APP = """
import os, sys
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.version import getbase
from omegaconf import OmegaConf
import anima_exp as ax

OmegaConf.register_new_resolver("unless", lambda: "the user's own")

def state():
    return [
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg, getbase(),
        *(sorted(ConfigStore.instance().list(group)) for group in ("", "hydra/sweeper")),
        Plugins.instance().discover(Sweeper), OmegaConf.has_resolver("template_of"),
    ]

@hydra.main(version_base="1.2", config_path=None)
def app(cfg):
    before = state()
    seeds = [ax.compose(f"seed={seed}").seed for seed in (1, 2)]
    try:
        ax.compose("lora.rnak=1")
    except ax.ConfigError as error:
        print(error)
    print(seeds, state() == before, OmegaConf.create({"a": "${unless:}"}).a, len(sys.argv))

app()
"""


def test_a_hydra_program_of_the_users_own_goes_on_as_before(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    done = subprocess.run(
        [sys.executable, "app.py", "hydra.run.dir=.", "hydra.output_subdir=null"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?",
        "[1, 2] True the user's own 3",
    ]


def test_a_config_knows_its_words_and_what_was_changed_since():
    config = ax.compose("model=llama7b", seed=1)
    assert words_of(config).words == ("model=llama7b", "seed=1")
    config.lora.rank = 16
    assert words_of(config).words == ("model=llama7b", "seed=1", "lora.rank=16")
    scaled = ax.compose("rehearsal_scale=0.5")
    scaled.seed = 2
    again = ax.compose(*words_of(scaled).words)
    assert (again.trainer, again.seed) == (scaled.trainer, 2), "not scaled a second time"


def test_a_setting_under_its_former_name_can_be_changed_and_swept_over(stand_ins):
    config = ax.compose("trainer.steps=5", "tracking=none")
    assert words_of(config).words == ("trainer.max_steps=5", "tracking=none")
    config.trainer.max_steps = 9
    assert ax.compose(*words_of(config).words).trainer.max_steps == 9
    for name in ("trainer.max_steps", "trainer.steps"):
        with pytest.raises(ax.ConfigError, match=r"trainer\.max_steps=x is not a whole"):
            ax.sweep(config, {name: [2, "x"]})


# plan


def test_a_plan_names_the_first_option_that_fits():
    cost = ax.plan(ax.compose("model=guanaco33b", "data=belle_merge"))
    first = next(one for one in cost.options if one.fits)
    assert (cost.peak_gib, cost.hours) == (first.peak_gib, first.hours)
    assert cost.options[0].name == "this machine"
    assert {"RTX 4090", "A100", "H200"} <= {one.name for one in cost.options}
    large = ax.plan(ax.compose("model=guanaco65b", "data=oasst1"))
    assert {one.num_gpus for one in large.options} > {1}, "several of those that are too small"
    html = cost._repr_html_()
    assert "<th" in html and "H200" in html and "guanaco33b on belle_merge" in html


# A run, and what is done with it.


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder in which all examples are run; the runs are in its `runs`."""
    folder = tmp_path_factory.mktemp("home")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def config(home):
    return ax.compose(*TINY)


@pytest.fixture(scope="module")
def record(config):
    return ax.train(config)


@pytest.fixture(scope="module")
def stand_ins():
    """The runs of a sweep have no model, and take milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_process, "train", stand_in_run.run)
        patch.setattr(pool, "PRELOAD", ["support.stand_in_run"])
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("PYTHONPATH", TESTS)  # for the process that jobs are forked from
        yield


@pytest.fixture(scope="module")
def records(config, record, stand_ins):
    return ax.sweep(config, {"seed": range(2), "lora.rank": [4, 8]}, jobs=2)


def children():
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True)
    return [line for line in listed.stdout.decode().splitlines() if "multiprocessing" in line]


@pytest.mark.parametrize("name", [*FUNCTIONS, "Record"])
def test_the_example_of_each_name_runs_and_prints_nothing(
    name, config, record, records, stand_ins, capfd
):
    names = {"ax": ax, "config": config, "record": record, "records": records}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    # doctest prints what an example gives, and compares that.
    found = [
        one
        for one in doctest.DocTestFinder().find(getattr(ax, name), name, globs=names)
        if one.examples
    ]
    assert len(found) == 1
    told: list[str] = []
    assert runner.run(found[0], out=told.append).failed == 0, "".join(told)
    assert capfd.readouterr() == ("", "")


def test_a_record_knows_its_folder_adapter_and_config(config, record):
    assert record.folder == Path("runs") / identity.run_name(config)
    assert (record.adapter, record.trained) == (record.folder / "adapter",) * 2
    assert record.adapter.is_dir()
    assert record.scores_after == record.scores != record.scores_before
    assert identity.flatten(record.config) == identity.flatten(config)
    assert ax.Record.load(str(record.folder)) == ax.Record.load(record.folder / "record.json")
    assert ax.Record.load(record.folder).folder == record.folder
    assert "folder" not in json.loads((record.folder / "record.json").read_text())
    assert [line.split()[0] for line in repr(record).splitlines()] == [
        f"{record.name}:", "score", "heldout_loss",
    ]  # fmt: skip
    assert "<th" in record._repr_html_()
    again = ax.train(record.config)
    assert (again, again.starts) == (record, 1), "it is done, and returned at once"


def test_a_record_that_is_not_there_is_one_line(tmp_path, record):
    with pytest.raises(ax.RunError, match=r"is not a run folder: it contains no record\.json"):
        ax.Record.load(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ax.RunError, match="has not finished"):
        ax.Record.load(tmp_path)
    (tmp_path / "record.json").write_text("[]")
    with pytest.raises(ax.RunError, match="is damaged"):
        ax.Record.load(tmp_path)
    with pytest.raises(ax.RunError, match="there is no such folder"):
        ax.runs(tmp_path / "else")
    with pytest.warns(UserWarning, match="is damaged.* It is left out"):
        assert ax.runs(tmp_path.parent) == []


def test_several_questions_are_answered_as_each_alone(record):
    how = {"temperature": 0, "max_new_tokens": 6}
    together = ax.generate(record, ["60和22合起来是多少？", "Name a fruit."], **how)
    assert together[1] == ax.generate(str(record.folder), "Name a fruit.", **how)
    assert together[0] != together[1]
    with pytest.raises(ax.ConfigError, match="A question is empty"):
        ax.generate(record, " ")
    with pytest.raises(ax.ConfigError, match=r"^There is no setting 'temprature'\. Did you mean"):
        ax.generate(record, "x", temprature=0)


def test_the_evaluation_of_a_record_is_kept_in_its_folder(record):
    scores = ax.evaluate(record, ["heldout"])
    assert scores == {"heldout_loss": pytest.approx(record.scores["heldout_loss"])}
    assert list((record.folder / "evaluations").glob("*.json"))


def test_with_verbose_a_call_prints_what_the_command_prints(config, capsys):
    ax.train(config, verbose=True)
    assert capsys.readouterr().out.startswith("Already done, nothing to do: runs/")
    ax.train(config)
    assert capsys.readouterr() == ("", "")


# sweep and compare


def test_a_sweep_returns_its_records_in_the_order_of_the_grid_and_leaves_no_process(
    config, records, capfd
):
    assert [(one.settings["seed"], one.settings["lora.rank"]) for one in records] == [
        (0, 4), (0, 8), (1, 4), (1, 8),
    ]  # fmt: skip
    assert children() == []
    again = ax.sweep(config, {"seed": [0, 1], "lora.rank": 4}, jobs=2)
    assert again == [records[0], records[2]], "what is done is not done again"
    assert capfd.readouterr() == ("", "")


def test_a_sweep_that_is_shown_handles_no_signal_either(config, records, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a handler was set"))
    ax.sweep(config, {"lora.rank": [4, 5]}, jobs=1, verbose=True)
    said = capsys.readouterr().out
    assert "runs    2: 1 done, 1 new" in said and "lora.rank=5: done, heldout_loss" in said


def test_a_sweep_that_fails_in_part_says_so_at_its_end(config, stand_ins):
    with pytest.raises(ax.SweepError) as failed:
        ax.sweep(config, {"lora.rank": [13, 8]}, jobs=2)
    assert [one.settings["lora.rank"] for one in failed.value.records] == [8]
    assert failed.value.failures == {"lora.rank=13": "rank 13 brings bad luck"}
    first, second = str(failed.value).splitlines()
    assert first.startswith("1 of 2 runs failed. The others are done.")
    assert second.startswith("  lora.rank=13: rank 13 brings bad luck (runs/")


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ({"lora.rnak": [1]}, "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?"),
        ({"lora.rank": []}, "lora.rank=[] has no values to sweep over. Give one or more."),
        ({"folder": ["a"]}, "run_dir=a names one run; the runs of a sweep name their own folders."),
    ],
)
def test_a_grid_that_cannot_run_starts_nothing(grid, line, config, stand_ins):
    with pytest.raises(ax.ConfigError) as mistake:
        ax.sweep(config, grid)
    assert str(mistake.value).startswith(line)


def test_what_follows_from_a_swept_group_follows_it(stand_ins, home):
    config = ax.compose(
        "trainer.max_steps=2", "tracking=none", "data.max_rows=24", model__source="tiny"
    )
    small, large = ax.sweep(config, {"model": ["llama7b", "llama65b"]}, jobs=2)
    rates = [one.settings["optimizer.learning_rate"] for one in (small, large)]
    assert rates == [2e-4, 1e-4]
    with pytest.raises(ax.ConfigError, match=r"model is a group .* Make the config by compose\(\)"):
        ax.sweep(small.config, {"model": ["llama7b", "llama65b"]})
    (again,) = ax.sweep(small.config, {"seed": [small.settings["seed"]]})
    assert again == small, "the config of a record is swept over setting by setting"


SCRIPT = """
from support import stand_in_run
import anima_exp as ax
from anima_exp.sweeping import job_process, pool
job_process.train, pool.PRELOAD = stand_in_run.run, ["support.stand_in_run"]
config = ax.compose("trainer.max_steps=2", "tracking=none", "launcher.preload={warm}")
print(len(ax.sweep(config, {{"seed": [0, 1]}}, jobs=2)))
"""


def test_a_script_without_a_guard_for_main_is_run_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(warm="true"))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": TESTS},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("2\n", "")


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_saves_its_runs_and_leaves_no_process(tmp_path):
    script = SCRIPT.format(warm="false").replace("steps=2", "steps=100")
    script = script.replace(
        "print(",
        "import os, signal, threading\n"
        "threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\nprint(",
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": TESTS, "STAND_IN_STEP_SECONDS": "0.1"},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    logs = [path.read_text() for path in tmp_path.glob("runs/*/log.txt")]
    assert len(logs) == 2 and all(log.endswith("anima_exp: stopped\n") for log in logs)


def test_a_comparison_is_a_table_a_data_frame_and_a_page(records, tmp_path, monkeypatch):
    table = ax.compare(records)
    assert [row.cell.settings["lora.rank"] for row in table.rows] == [4, 8]
    frame = table.to_pandas()
    assert list(frame["lora.rank"]) == [4, 8]
    assert frame["heldout_loss"][0] == table.rows[0].score.mean
    assert list(frame["heldout_loss_n"]) == [2, 2]
    page = table.to_html(tmp_path / "page.html")
    assert page.read_text().startswith("<!doctype html>")
    html = table._repr_html_()
    assert "<table>" in html and "heldout_loss" in html and table.conclusion[0][:20] in html
    assert table.conclusion[0][:20] in str(table)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ax.ConfigError, match=r"to_pandas\(\) needs pandas"):
        table.to_pandas()


def test_a_comparison_takes_paths_and_names_a_metric_that_is_not_there(records, config):
    assert len(ax.compare("runs", filters=["lora.rank=4", "trainer.max_steps=3"]).rows) >= 1
    with pytest.raises(ax.ConfigError, match="No finished run has the score 'mmlu'"):
        ax.compare(records[0], metric="mmlu")


def test_train_takes_only_what_compose_returns():
    with pytest.raises(ax.ConfigError, match="train takes what compose returns, not a str"):
        ax.train("runs")  # type: ignore[arg-type]
