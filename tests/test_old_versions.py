"""What version 0.1 left is done for every later one: nothing of it runs again, nothing changes.

old_versions/0.1/ holds a run, a sweep of six cells and a cache as 0.1.0 wrote them, without
checkpoints and logs.
"""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.comparison.build import build
from anima_exp.comparison.export import json_text
from anima_exp.comparison.runs import load
from anima_exp.config import EvaluateConfig, RunConfig
from anima_exp.config.former_names import FormerNames
from anima_exp.planner import lengths
from anima_exp.system.paths import shipped

OLD = Path(__file__).parent / "old_versions" / "0.1"
RUN = "runs/tiny-sample-5dcc90e916"
SWEEP = "sweep_runs/sweeps/by_hand-2c9834"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of what 0.1.0 left in the folder that its commands were started in."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    (tmp_path / "single").rename(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    """Every file but the locks, with its bytes and its time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def again(command):
    """What a command of then prints now."""
    words = shlex.split(command)
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_same_command_finds_the_run_done_and_changes_no_byte(old):
    before = contents(old)
    told = again(
        "python -m anima_exp.train runs=runs cache=cache trainer.steps=4 lora=key_query "
        "lora.rank=1 data.rows=64 data.heldout_rows=16 evals=heldout trainer.log_every=1 "
        "trainer.batch_size=4"
    )
    assert f"Already done, nothing to do: {RUN}" in told
    assert "heldout_loss  2.1868  2.1469" in told
    assert contents(old) == before


def test_all_six_cells_of_the_sweep_are_done_and_none_runs_again(old):
    before = contents(old)
    file = f"{SWEEP}/sweep.json"
    was = json.loads(before[file][0])
    told = again(was["command"])
    assert "runs    6: 6 done\n" in told
    assert f"folder  {SWEEP}\n" in told
    assert "started" not in told
    assert "6 of 6 runs done" in told
    after = contents(old)
    now = json.loads(after.pop(file)[0])
    assert {k: v for k, v in before.items() if k != file} == after
    names = FormerNames(RunConfig)
    for cell in was["cells"]:
        cell["overrides"] = names.overrides(cell["overrides"])
    assert now["cells"] == was["cells"]


def test_a_comparison_of_the_old_cells_has_the_old_means(old):
    found = json.loads(json_text(build(load([old / SWEEP]))))
    means = {row["settings"]["lora.rank"]: row["score"]["mean"] for row in found["leaderboard"]}
    assert means == {1: 2.160784657796224, 4: 2.162354914347331, 2: 2.1684923807779946}
    assert {row["score"]["n"] for row in found["leaderboard"]} == {2}
    assert found["settings"] == ["lora.rank"]


def test_a_plan_knows_the_lengths_that_an_old_run_left(old, compose):
    config = compose(
        "data.max_rows=64", "data.heldout_rows=16", "trainer.max_steps=4", "lora.rank=8"
    )
    known = lengths.load_stats(config, cache=old / "cache")
    assert known == lengths.LengthStats(64, 21.640625, 3.4375)


def test_the_old_adapter_is_measured_as_then_on_the_old_token_ids(old):
    from anima_exp.evals.report import run
    from anima_exp.model.tokenizer import load_tokenizer

    asked = expand_run_argument([f"run={RUN}", "evals=[heldout]", "cache_dir=cache"])
    register_schema(EvaluateConfig)
    try:
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            config = parse(hydra.compose("evaluate", overrides=asked))
    finally:
        register_schema()
    before = contents(old)
    run(config)
    [file] = (old / RUN / "evaluations").iterdir()
    loss = json.loads(file.read_text())["scores"]["heldout_loss"]
    [one] = load([old / RUN]).runs
    assert loss == pytest.approx(one.scores["heldout_loss"], abs=1e-3)
    assert loss < one.scores_before["heldout_loss"] - 0.03, "it is not the bare base"
    # The key of a set holds the tokenizer as the tokenizers library writes it.
    text = load_tokenizer(config.model).backend_tokenizer.to_str()
    if hashlib.sha256(text.encode()).hexdigest() == TOKENIZER:
        after = contents(old)
        assert {k: v for k, v in after.items() if "evaluations" not in k} == before
        assert len(list((old / "cache" / "tokens").iterdir())) == 2


# The SHA-256 of the tiny tokenizer as tokenizers 0.23 writes it. Others may write other text.
TOKENIZER = "a5fdf7b6491205873196cffa7a28063187e6528a625b308d39b20f5fda99ee58"


def test_after_a_renamed_setting_the_old_cells_are_still_three(old, monkeypatch):
    """Of a schema in which lora.rank is called lora.r."""
    from dataclasses import MISSING, field, fields, make_dataclass

    from anima_exp.config import LoraConfig, former_names
    from anima_exp.config.setting import setting
    from anima_exp.results import identity

    def rebuilt(schema, **changed):
        def again(one):
            how = "default" if one.default is not MISSING else "default_factory"
            return field(**{how: getattr(one, how)}, metadata=one.metadata)

        kept = [(f.name, f.type, again(f)) for f in fields(schema) if f.name not in changed]
        return make_dataclass(schema.__name__, [*kept, *(v for v in changed.values() if v)])

    renamed = setting(64, "Rank.", formerly=("rank",))
    lora = rebuilt(LoraConfig, rank=None, r=("r", int, renamed))
    schema = rebuilt(RunConfig, lora=("lora", lora, setting(lora, "The adapter.")))
    for module in (former_names, identity):
        monkeypatch.setattr(module, "RunConfig", schema)
    for module in ("cells", "settings"):
        monkeypatch.setattr(f"anima_exp.comparison.{module}.RunConfig", schema)
    before = {2.1608, 2.1624, 2.1685}
    found = build(load([Path("sweep_runs")]))
    assert found.keys == ["lora.r"]
    assert {round(row.score.mean, 4) for row in found.rows} == before
    assert [row.score.n for row in found.rows] == [2, 2, 2]
