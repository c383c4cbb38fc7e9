"""A user's own YAML file: what is wrong with it is one line that names the file."""

import signal
import sys
import tracemalloc

import pytest
from omegaconf import OmegaConf

from anima_exp.cli import compose, yaml_files
from anima_exp.errors import ConfigError


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command("-m", "lora=mine") in a folder with conf/ -> its exit status and what it says."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    configs = []

    def _command(*arguments):
        words = ["train", "--config-dir", "own", "tracking=none", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        status = 0
        try:
            compose.run_command(configs.append)
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr().err, configs

    yield _command
    signal.signal(signal.SIGTERM, before)
    yaml_files._read.clear()


@pytest.fixture
def own(tmp_path):
    def _own(name, text):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return _own


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
FAULTS = {
    "tab": ("rank: 3\n\talpha: 3\n", ", line 2: found character '\\t' that cannot start any token. "
            "Indent with spaces, not with tabs."),
    "twice": ("rank: 3\nrank: 4\n", ", line 2: found duplicate key rank."),
    "utf16": ("rank: 3\n".encode("utf-16"), ", line 1: not UTF-8 text. Save the file in UTF-8."),
    "latin1": ("rank: 3\n# ü\n".encode("latin-1"), ", line 2: not UTF-8 text. Save the file in "
               "UTF-8."),
    "unclosed": ("rank: [3\nalpha: 4\n", ", line 2: expected ',' or ']', but got ':'."),
    "list": ("- rank: 3\n", " holds a list, but a file of settings is a mapping. "
             "Write KEY: VALUE on each line."),
    "text": ("rank\n", " holds a text, but a file of settings is a mapping. "
             "Write KEY: VALUE on each line."),
    "bomb": (BOMB, ": its aliases (*NAME) expand to more than 1,000,000 values. Write the values "
             "out instead."),
    "circle": ("rank: &a [*a]\n", ": its aliases (*NAME) expand to more than 1,000,000 values. "
               "Write the values out instead."),
    "deep": ("rank: " + "[" * 5000 + "]" * 5000, " is nested too deeply, or contains itself."),
    "large": ("#" * (5 << 20), " has 5 MiB, but a file of settings may have at most 4 MiB."),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path, monkeypatch, name):
    text, line = FAULTS[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{name}.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        yaml_files.check(path)
        with yaml_files.mistakes_in(path):
            OmegaConf.load(path)
    assert str(error.value) == f"{name}.yaml{line}"


def test_a_bomb_of_aliases_takes_no_memory(tmp_path):
    (tmp_path / "bomb.yaml").write_text(BOMB)
    tracemalloc.start()
    with pytest.raises(ConfigError):
        yaml_files.check(tmp_path / "bomb.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_aliases_that_repeat_little_are_read(own, command):
    own("experiment/mine.yaml", "# @package _global_\nseed: &s 3\ndata: {heldout_seed: *s}\n")
    status, _, configs = command("experiment=mine")
    assert (status, configs[0].seed, configs[0].data.heldout_seed) == (0, 3, 3)


ALL = "defaults: [all_linear]\n"
GLOBAL = "# @package _global_\n"
SWEEP = "# Which? 2 jobs.\nhydra:\n  sweeper:\n"
MISTAKES = {
    "lora/tab.yaml": ("\trank: 3\n", "own/lora/tab.yaml, line 1: found character '\\t'"),
    "lora/typo.yaml": (f"{ALL}rnak: 3\n", "In own/lora/typo.yaml: There is no setting 'lora.rnak'. "
                       "Did you mean 'lora.rank'?"),
    "lora/type.yaml": (f"{ALL}rank: many\n", "In own/lora/type.yaml: lora.rank=many is not a "
                       "whole number."),
    "lora/empty.yaml": (f"{ALL}rank: null\n", "In own/lora/empty.yaml: lora.rank=null is not a "
                       "whole number."),
    "lora/base.yaml": ("defaults: [all_linaer]\n", "In own/lora/base.yaml: lora=all_linaer: no "
                       "such choice. Did you mean 'all_linear'? `anima-exp help lora` lists all."),
    "lora/less.yaml": (f"{ALL}rank: -3\n", "In own/lora/less.yaml: lora.rank=-3 must be greater "
                       "than 0."),
    "lora/refers.yaml": (f"{ALL}rank: ${{lora.x}}\n", "In own/lora/refers.yaml: lora.rank refers "
                         "to 'lora.x', which does not exist."),
    "experiment/list.yaml": (f"{GLOBAL}lora: [1, 2]\n", "In own/experiment/list.yaml: a group of "
                             "settings is a list, not a mapping. Write KEY: VALUE on the lines"),
    "experiment/flat.yaml": (f"{GLOBAL}lora.rank: 3\n", "In own/experiment/flat.yaml: lora.rank is "
                             "nested in a file: 'lora:', and 'rank: ...' below it."),
    "experiment/defaults.yaml": (f"{GLOBAL}defaults: {{data: sample}}\n", "In own/experiment/"
                                 "defaults.yaml: defaults is a mapping, not a list."),
    "experiment/choice.yaml": (f"{GLOBAL}defaults: [override /data: nosuch]\n", "In own/experiment/"
                               "choice.yaml: data=nosuch: no such choice."),
    "experiment/two.yaml": (f"{GLOBAL}defaults:\n  - override /data: [sample, alpaca]\n", "In own/"
                            "experiment/two.yaml: data: a defaults list gives several names"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_file_names_that_file(own, command, name):
    text, line = MISTAKES[name]
    own(name, text)
    group, _, choice = name.removesuffix(".yaml").partition("/")
    status, said, configs = command(f"{group}={choice}")
    assert (status, configs) == (1, [])
    assert said.startswith(f"anima_exp: {line}")
    assert said.count("\n") == 1


def test_what_the_command_line_sets_is_no_mistake_of_the_file(own, command):
    own("lora/less.yaml", f"{ALL}rank: 3\n")
    _, said, _ = command("lora=less", "lora.rank=-3")
    assert said == "anima_exp: lora.rank=-3 must be greater than 0.\n"


SWEEPS = {
    "typo": ("    params: {lora.rnak: '8,16'}\n", "In own/sweep/typo.yaml: There is no setting "
             "'lora.rnak'. Did you mean 'lora.rank'?"),
    "less": ("    params: {lora.rank: '-8,-8'}\n", "In own/sweep/less.yaml: lora.rank=-8 must be "
             "greater than 0."),
    "rows": ("    points: [lora.rank]\n",
             "In own/sweep/rows.yaml: hydra.sweeper.points: lora.rank is "
             "not a point, such as {lora.rank: 8, seed: 1}."),
    "list": ("    params: [lora.rank]\n", "In own/sweep/list.yaml: a group of settings is a list, "
             "not a mapping. Write KEY: VALUE on the lines below its name."),
    "open": ("    params: {\n", "own/sweep/open.yaml, line 5: "),
    "word": ("    parms: {lora.rank: '8,16'}\n", "In own/sweep/word.yaml: There is no setting '"
             "hydra.sweeper.parms'. A sweep has params, points and multipliers"),
}  # fmt: skip


@pytest.mark.parametrize("name", SWEEPS)
def test_a_mistake_in_a_sweep_names_that_file(own, command, name):
    text, line = SWEEPS[name]
    own(f"sweep/{name}.yaml", SWEEP + text)
    status, said, _ = command("-m", f"sweep={name}", "dry_run=true")
    assert status == 1
    assert said.startswith(f"anima_exp: {line}")
    assert said.count("\n") == 1


def test_a_sweep_of_odd_file_names_runs(own, command, capsys):
    own("sweep/files.yaml", SWEEP + '    points: [{tracking.group: "a#1", seed: 1}, {seed: 2}]\n')
    status, said, _ = command("-m", "sweep=files", "dry_run=true")
    assert (status, said) == (0, "")


def test_nan_among_the_multipliers_is_refused(own, command):
    own("sweep/far.yaml", SWEEP + "    multipliers: {trainer.max_steps: '1,nan'}\n")
    status, said, _ = command("-m", "sweep=far", "dry_run=true")
    assert (status, said.count("\n")) == (1, 1)
    assert "multipliers of trainer.max_steps: 1,nan must be finite numbers." in said


def test_a_file_may_choose_several_trackers_but_not_none_with_others(command, own, monkeypatch):
    header = "# @package _global_\ndefaults:\n  - override /tracking: "
    own("experiment/two.yaml", f"{header}[wandb, trackio]\n")
    own("experiment/odd.yaml", f"{header}[none, wandb]\n")
    words = ["train", "--config-dir", "own", "experiment=two"]
    monkeypatch.setattr(sys, "argv", words)
    configs = []
    compose.run_command(configs.append)
    assert configs[0].tracking.trackio
    assert configs[0].tracking.mode.value == "auto"
    status, said, _ = command("experiment=odd")
    assert (status, said) == (
        1,
        "anima_exp: In own/experiment/odd.yaml: tracking: [none, wandb]: none means no "
        "tracker, so it excludes the others. Remove none, or write tracking=none.\n",
    )
