"""`--help` and `--cfg job` answer at once: nothing heavy is imported before it is needed."""

import copy
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
from hydra.core.config_store import ConfigStore

from anima_exp.cli.compose import run_command

TRACKERS = ("wandb", "tensorboard", "mlflow", "trackio")
HEAVY = ("torch", "transformers", "datasets", "peft", "bitsandbytes", "numpy", "rich", *TRACKERS)


def loaded_by(code, of=HEAVY):
    probe = f"{code}\nimport sys\nprint(*[m for m in {of!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    return run.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("option", ["--help", "--cfg=job"])
def test_a_question_does_not_load_torch(option):
    code = f"""
import runpy, sys
sys.argv = ["train", {option!r}]
try:
    runpy.run_module("anima_exp.train", run_name="__main__")
except SystemExit:
    pass
"""
    assert loaded_by(code) == []


def test_the_help_of_the_tournament_loads_nothing():
    code = """
import runpy, sys
sys.argv = ["elo", "--help"]
try:
    runpy.run_module("anima_exp.elo", run_name="__main__")
except SystemExit:
    pass
"""
    assert loaded_by(code) == []


def test_a_sweep_is_checked_and_led_without_torch(tmp_path):
    code = f"""
import runpy, sys
sys.argv = ["train", "-m", "seed=0,1", "runs_dir={tmp_path}", "dry_run=true"]
import anima_exp.sweeping.launchers
runpy.run_module("anima_exp.train", run_name="__main__")
"""
    heavy = set(loaded_by(code))
    unused = {"torch", "transformers", "datasets", "peft", "bitsandbytes", *TRACKERS}
    assert not heavy & unused


def test_the_tiny_run_loads_nothing_that_it_does_not_use(tmp_path):
    """What Trainer, peft and bitsandbytes import by themselves is theirs: pandas, SciPy."""
    code = f"""
import runpy, sys
sys.argv = ["train", "runs_dir={tmp_path}", "tracking=none", "trainer.max_steps=1",
            "evals=[heldout]"]
runpy.run_module("anima_exp.train", run_name="__main__")
"""
    unused = (
        *TRACKERS,
        "plotly",
        "openai",
        "optuna",
        "submitit",
        "scipy.stats",
        "sklearn",
        "lm_eval",
    )
    assert set(loaded_by(code, of=(*unused, "torch", "peft"))) == {"torch", "peft"}


def test_only_the_sweep_that_was_chosen_is_read():
    code = """
import runpy, sys
from omegaconf import OmegaConf
load, read = OmegaConf.load, []
OmegaConf.load = lambda file: read.append(str(file)) or load(file)
sys.argv = ["train", "sweep=demo", "--cfg=job"]
runpy.run_module("anima_exp.train", run_name="__main__")
print([file.rpartition("/")[2] for file in read if "/sweeps/" in file])
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "['demo.yaml']"


@pytest.mark.parametrize("grid", [[], ["-m", "seed=0,1"]], ids=["one run", "a grid"])
def test_a_plan_is_made_without_torch(grid):
    arguments = ["plan", *grid, "model=guanaco33b", "data=belle_merge"]
    code = f"""
import runpy, sys
sys.argv = {arguments!r}
runpy.run_module("anima_exp.plan", run_name="__main__")
"""
    heavy = set(loaded_by(code))
    assert not heavy & {"torch", "transformers", "datasets", "peft", "bitsandbytes"}


def test_the_probe_would_notice():
    assert loaded_by("import sys; sys.modules['torch'] = None") == ["torch"]


def test_help_lists_groups_sweeps_and_examples():
    run = subprocess.run(
        [sys.executable, "-m", "anima_exp.train", "--help", "--all"],
        check=True,
        capture_output=True,
        text=True,
    )
    for word in ("model: ", "guanaco33b", "sweep: ", "sweep=demo", "data=belle_merge"):
        assert word in run.stdout


OTHER = """
import copy
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

@hydra.main(version_base="1.3", config_path=None)
def app(cfg):
    store = ConfigStore.instance()
    print("copied", copy.deepcopy(store) is not store)
    print("choices", *store.list("hydra/sweeper"), *store.list("hydra/launcher"))
    known = Plugins.instance().discover(Sweeper) + Plugins.instance().discover(Launcher)
    print("ours", *(one.__name__ for one in known if "anima" in one.__module__))

app()
"""


def test_another_hydra_program_sees_nothing_of_ours(tmp_path):
    """Even if it imports the module that our own commands start with."""
    (tmp_path / "app.py").write_text(f"import anima_exp.cli.compose\n{OTHER}")

    def start(*arguments):
        command = [sys.executable, "app.py", "hydra.run.dir=.", "hydra.output_subdir=null"]
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    plain = start()
    assert plain.stderr == ""
    copied, choices, ours = plain.stdout.splitlines()
    assert copied == "copied True"
    assert "basic.yaml" in choices
    assert not {"grid.yaml", "plan.yaml", "pool.yaml"} & set(choices.split())
    assert ours == "ours"
    if find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        assert "Could not find 'hydra/sweeper/optuna'" in start("hydra/sweeper=optuna").stderr


def test_hydras_store_is_copied_again_after_our_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--cfg=job"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run_command(lambda config: None)
    assert "learning_rate" in capsys.readouterr().out
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is not store


def test_the_short_help_of_a_command_loads_no_hydra():
    code = """
import sys
sys.argv = ["anima-exp", "train", "--help"]
from anima_exp.__main__ import main
main()
"""
    assert loaded_by(code, of=(*HEAVY, "hydra", "omegaconf")) == []
