"""A file says what form it has: an older one is read, a newer one is refused and never lost."""

import json
import re
from dataclasses import make_dataclass, replace

import pytest
from support import synthetic
from support.byte_tokenizer import byte_tokenizer, local, pairs, write_rows

from anima_exp.cli import saved_run
from anima_exp.comparison import extra_scores
from anima_exp.comparison import runs as runs_module
from anima_exp.comparison.runs import generations, load
from anima_exp.config import former_names
from anima_exp.config.commands import PublishConfig
from anima_exp.config.setting import setting
from anima_exp.data import source, tokenize
from anima_exp.errors import NewerFileError
from anima_exp.inference import answer_file as answers_file
from anima_exp.inference.questions import Question
from anima_exp.judging import matches as judge_answers
from anima_exp.judging import store
from anima_exp.planner import lengths as known_lengths
from anima_exp.publishing.upload import of_config
from anima_exp.results.folder import RunFolder
from anima_exp.results.record import Record
from anima_exp.sweeping.cell import Cell, State
from anima_exp.sweeping.grid import Grid
from anima_exp.sweeping.live_table import Progress
from anima_exp.sweeping.manifest import SweepFile
from anima_exp.system import hashing, json_files
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.tournament.players import read_answers
from anima_exp.tournament.reading import read as read_verdicts
from anima_exp.training import checkpoint
from anima_exp.training.meter import Meter

pytestmark = pytest.mark.usefixtures("shown")

LATER = 99


def age(file, version=LATER):
    """Give a JSON file, or the first line of a file of lines, another version."""
    first, *rest = (
        file.read_text("utf-8").splitlines(keepends=True)
        if file.suffix == ".jsonl"
        else [file.read_text("utf-8")]
    )
    values = {**json.loads(first), "schema_version": version}
    end = "\n" if file.suffix == ".jsonl" else ""
    file.write_text("".join([json.dumps(values) + end, *rest]), "utf-8")
    return file


def refused(file):
    line = (
        f"{file} has schema version {LATER}, but this version of anima-exp reads up to 1. "
        "Update anima-exp."
    )
    return pytest.raises(NewerFileError, match=f"^{re.escape(line)}$")


@pytest.fixture
def run(tmp_path):
    return synthetic.run(tmp_path / "runs" / "one")


# The number itself


def test_each_migration_leads_to_the_next_version():
    def rename(values):
        return {"new": values["old"]}

    def double(values):
        return {"new": 2 * values["new"]}

    steps = [json_files.unchanged, rename, double]
    assert json_files.read_versioned({"old": 3}, "f", 3, steps) == {"new": 6}
    assert json_files.read_versioned(json_files.stamp({"old": 3}, 1), "f", 3, steps) == {"new": 6}
    assert json_files.read_versioned(json_files.stamp({"new": 3}, 2), "f", 3, steps) == {"new": 6}
    assert json_files.read_versioned(json_files.stamp({"new": 3}, 3), "f", 3, steps) == {"new": 3}


@pytest.mark.parametrize(
    ("found", "told"), [("2", "a text"), (True, "true or false"), (1.0, "a number"), (-1, "-1")]
)
def test_a_version_that_is_no_number_is_damage(found, told):
    with pytest.raises(ValueError, match=f"^its schema_version is {told}$"):
        json_files.read_versioned({"schema_version": found}, "f", 1)


# A run's folder


def test_a_newer_record_is_neither_done_nor_damaged_and_is_not_touched(compose, tmp_path, capsys):
    config = compose(f"runs_dir={tmp_path}")
    folder = RunFolder(config)
    synthetic.run(folder.path)
    file = age(folder.path / "record.json")
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    cell = Cell(0, (), "label", config, folder.path.name, folder.path)
    for use in (lambda: folder.done, lambda: cell.state, lambda: cell.damage):
        with refused(file):
            use()
    assert {path: path.read_bytes() for path in folder.path.iterdir()} == before
    file.write_text("{")
    assert folder.done is False
    assert "is damaged and will be written again" in capsys.readouterr().out
    assert cell.state is State.new


def test_a_record_without_a_version_is_read(run):
    values = json.loads((run / "record.json").read_text())
    assert values.pop("schema_version") == 1
    new = Record.load(run)
    (run / "record.json").write_text(json.dumps(values))
    assert Record.load(run) == new


def test_every_command_that_takes_a_run_names_its_newer_record(run):
    file = age(run / "record.json")
    with refused(file):  # evaluate, generate, merge
        saved_run.expand_run_argument([f"run={run}"])
    with refused(file):  # publish
        of_config(PublishConfig(run=str(run), push="user/name"))
    with refused(file):
        load([run])


def test_other_files_of_a_newer_run_are_refused_too(compose, tmp_path):
    config = compose(f"runs_dir={tmp_path}")
    with RunFolder(config) as folder:
        folder.check_inputs(data="d", base="b")
        JsonLinesLog(folder.path / "metrics.jsonl").append({"step": 1})
        with refused(age(folder.path / "inputs.json")):
            folder.check_inputs(data="d", base="b")
    file = age(folder.path / "settings.json")
    with refused(file), RunFolder(config):
        pass
    with refused(file):
        load([folder.path])


def test_settings_of_a_run_that_has_begun_are_never_written_again(compose, tmp_path):
    config = compose(f"runs_dir={tmp_path}")
    with RunFolder(config) as folder:
        JsonLinesLog(folder.path / "metrics.jsonl").append({"step": 1})
    file = folder.path / "settings.json"
    values = json.loads(file.read_text())
    assert values.pop("schema_version") == 1
    file.write_text(json.dumps(values))  # as before versions
    before = file.read_bytes(), file.stat().st_mtime_ns
    with RunFolder(config):
        pass
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


# Files of lines


def test_the_first_line_holds_the_version_and_no_row_shows_it(tmp_path):
    file = JsonLinesLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        file.append({"step": step, "loss": 1.0})
    assert [json.loads(line) for line in file.path.read_text().splitlines()] == [
        {"schema_version": 1, "step": 1, "loss": 1.0},
        {"step": 2, "loss": 1.0},
        {"step": 3, "loss": 1.0},
    ]
    file.keep(lambda row: row["step"] > 1)
    assert file.rows() == [{"step": 2, "loss": 1.0}, {"step": 3, "loss": 1.0}]
    assert file.path.read_text().startswith('{"schema_version": 1, "step": 2')


def test_lines_without_a_version_stay_so_and_new_files_begin_with_one(tmp_path):
    old, new = JsonLinesLog(tmp_path / "metrics.jsonl"), JsonLinesLog(tmp_path / "new.jsonl")
    old.path.write_text('{"step": 1}\n{"step": 2}\n')
    old.keep(lambda row: row["step"] == 1)
    assert old.path.read_text() == '{"step": 1}\n'
    for step in (1, 2):
        new.append({"step": step})
    new.keep(lambda row: row["step"] == 2)
    assert new.path.read_text() == '{"schema_version": 1, "step": 2}\n'


def test_newer_lines_are_refused_and_stay(run):
    file = age(run / "generations.jsonl")
    with refused(file):
        generations(load([run]).runs[0])
    before = file.read_bytes()
    with refused(file):
        JsonLinesLog(file).keep(lambda row: False)
    assert file.read_bytes() == before


def test_a_version_is_no_score_of_a_running_cell(compose, tmp_path):
    cell = Cell(0, (), "label", compose(), "name", tmp_path)
    JsonLinesLog(tmp_path / "metrics.jsonl").append({"step": 0, "heldout_loss": 2.0})
    assert Progress.whole(cell).scores == {"heldout_loss": 2.0}


# Checkpoints


def test_a_newer_checkpoint_is_refused_not_passed_over(tmp_path):
    for step in (1, 2):
        draft = tmp_path / checkpoint.DRAFT / f"checkpoint-{step}"
        draft.mkdir(parents=True)
        Meter(steps=step).save(draft)
        checkpoint.publish(draft, tmp_path, keep=2)
    newest = tmp_path / "checkpoint-2"
    assert Meter.load(newest) == Meter(steps=2)
    with refused(age(newest / "manifest.json")):
        checkpoint.newest_whole(tmp_path, print)
    with refused(age(newest / "meter.json")):
        Meter.load(newest)


# Sweeps and what is measured later


def test_a_newer_sweep_is_neither_read_nor_written_over(compose, run, tmp_path):
    config = compose(f"runs_dir={tmp_path}")
    cell = Cell(0, (), "label", config, "one", run)
    sweep = SweepFile("by_hand", None, "train", Grid([cell], (), 0))
    sweep.save()
    file = age(sweep.folder / "sweep.json")
    before = file.read_bytes()
    with refused(file):
        load([sweep.folder])
    with refused(file):
        sweep.save()
    assert file.read_bytes() == before
    file.write_text("{")  # a damaged one is written anew
    sweep.save()
    assert json.loads(file.read_text())["schema_version"] == 1


def test_a_newer_study_is_refused(tmp_path):
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from anima_exp.config import Direction
    from anima_exp.sweeping.search.space import Search, Space
    from anima_exp.sweeping.search.study import Study

    def study():
        how = {"direction": Direction.minimize, "steps": None}
        return Study(tmp_path, Space((), {}), Search(5, "tpe", "none", 0, 1), **how)

    def stored():
        backend = JournalStorage(JournalFileBackend(str(tmp_path / "study.jsonl")))
        return optuna.load_study(study_name="search", storage=backend)

    with study():
        assert stored().user_attrs == {"schema_version": 1}
    stored().set_user_attr("schema_version", LATER)
    for _ in range(2):  # the folder is free again after a refusal
        with refused(tmp_path / "study.jsonl"):
            study().__enter__()


def test_a_newer_evaluation_and_newer_ratings_are_refused_by_name(run, tmp_path):
    (run / "evaluations").mkdir()
    for file, use in (
        (run / "evaluations" / "one.json", extra_scores.with_evaluations),
        (
            tmp_path / "ratings.json",
            lambda runs: extra_scores.with_ratings(runs, tmp_path / "ratings.json"),
        ),
    ):
        file.write_text('{"scores": {}}')
        with refused(age(file)):
            use(load([run]))


# Lines that users join, and that other programs write too


def line(folder, **values):
    file = folder / "A-vs-B.jsonl"
    file.write_text(json.dumps(values) + "\n")
    return file


ANSWER = {"question_id": 1, "question": "?", "metadata": {}, "text": "a", "answer_id": "x"}
VERDICT = {
    "key": "k", "parsed": True, "score": 1, "text": "t", "question_id": 1, "answer1_id": "x",
    "answer2_id": "y",
}  # fmt: skip


def test_newer_answers_are_refused_by_line(tmp_path):
    file = line(tmp_path, **ANSWER, schema_version=LATER)
    with refused(f"{file}, line 1"):
        answers_file.check(file, [Question(1, "?")], {})
    with refused(f"{file}, line 1"):
        judge_answers.read_answers([str(file)])
    with refused(f"{file}, row 1"):
        read_answers([file])


def test_newer_verdicts_are_refused_by_line(tmp_path):
    file = line(tmp_path, **VERDICT, schema_version=LATER)
    with refused(f"{file}, row 1"):
        read_verdicts([file])
    (tmp_path / "store").mkdir()
    stored = file.rename(tmp_path / "store" / "verdicts.jsonl")
    with refused(f"{stored}, line 1"):
        store.read_only(tmp_path)
    with refused(f"{stored}, line 1"):
        store.Store(tmp_path).__enter__()


def test_what_another_program_calls_schema_version_is_none_of_ours(tmp_path):
    file = line(tmp_path, **VERDICT, schema_version="2024-01")
    assert len(read_verdicts([file])) == 1
    assert len(read_answers([line(tmp_path, **ANSWER, schema_version="v2")])) == 1


# Caches: a newer entry is missed with a line, and stays


def test_newer_token_ids_are_made_again_elsewhere(tmp_path, capsys):
    config = local(write_rows(tmp_path / "a.jsonl", *pairs(3)))

    def tokens():
        found = source.training_source(config)
        return tokenize.tokenize(found, config, byte_tokenizer(), cache=tmp_path / "cache")

    first = tokens()
    file = age(first.folder / "meta.json")
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    again = tokens()
    assert again.ids.tolist() == first.ids.tolist()
    assert again.folder != first.folder
    assert again.folder.name == first.folder.name, "the run's inputs are the same"
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before
    assert json_files.not_used(file) in capsys.readouterr().err.replace("\n", "")


def test_newer_lengths_are_not_used_and_stay(compose, tmp_path, capsys):
    config, lengths = compose(), known_lengths.LengthStats(4, 3.0)
    known_lengths.save_stats(config, lengths, cache=tmp_path)
    assert known_lengths.load_stats(config, cache=tmp_path) == lengths
    [file] = (tmp_path / "lengths").iterdir()
    before = age(file).read_bytes()
    assert known_lengths.load_stats(config, cache=tmp_path) is None
    known_lengths.save_stats(config, replace(lengths, rows=5), cache=tmp_path)
    assert file.read_bytes() == before
    assert json_files.not_used(file) in capsys.readouterr().err.replace("\n", "")


def test_newer_hashes_are_not_used_and_stay_and_older_ones_are_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hashing, "LARGE", 10)
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)
    path = tmp_path / "weights"
    path.write_bytes(b"0" * 20)

    def read():
        monkeypatch.setattr(hashing, "_known", {})
        return hashing.sha256(path, cache=tmp_path)

    sha = read()
    [file] = (tmp_path / "hashes").glob("*.json")
    values = json.loads(file.read_text())
    assert values.pop("schema_version") == 1
    file.write_text(json.dumps(values))
    monkeypatch.setattr(hashing, "_read", None)  # nothing is read again
    assert read() == sha
    monkeypatch.undo()
    monkeypatch.setattr(hashing, "LARGE", 10)
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)
    before = age(file).read_bytes()
    assert read() == sha
    assert file.read_bytes() == before
    assert json_files.not_used(file) in capsys.readouterr().err.replace("\n", "")


# Settings


@pytest.fixture
def of_tomorrow(monkeypatch):
    """A schema in which a setting has another name, a value too, and a third one is new."""
    tomorrow = make_dataclass(
        "Tomorrow",
        [
            ("pace", float, setting(1.0, "Rate.", formerly=("optimizer.learning_rate",))),
            ("base", str, setting("t", "Base.", formerly=("model.name",), former_values=RENAMED)),
            ("nap", str, setting("long", "Nap.", since="9.9", as_before="none")),
            ("bed", str | None, setting("soft", "Bed.", since="9.9", in_name=False)),
            ("sofa", str, setting("soft", "Sofa.", since="9.9", in_name=False)),
        ],
    )
    for module in (former_names, runs_module):
        monkeypatch.setattr(module, "RunConfig", tomorrow)


RENAMED = {"tiny": "small"}


def test_records_are_read_under_todays_names_with_what_was_before(run, of_tomorrow):
    settings = Record.load(run).settings
    assert settings["pace"] == 2e-3
    assert settings["base"] == "small"
    assert settings["nap"] == "none"
    assert settings["bed"] is None
    assert "sofa" not in settings, "the record does not say what it was"
    assert not {"optimizer.learning_rate", "model.name"} & set(settings)
    assert load([run]).runs[0].settings == settings


def test_sweeps_and_unfinished_runs_are_read_under_todays_names(tmp_path, of_tomorrow):
    begun = synthetic.run(tmp_path / "runs" / "one", done=False)
    folder = synthetic.sweep(
        tmp_path / "runs" / "sweeps" / "s",
        [(begun, ["optimizer.learning_rate=2e-3", "seed=0"])],
        swept=["optimizer.learning_rate", "seed"],
        about="optimizer.learning_rate",
        published={"source": "s", "metric": "m", "rows": [{"model.name": "tiny", "value": 1.0}]},
    )
    found = load([folder])
    [sweep], [one] = found.sweeps, found.runs
    assert (sweep.swept, sweep.about) == (("pace", "seed"), "pace")
    assert one.overrides == ("pace=2e-3", "seed=0")
    assert one.settings["pace"] == 2e-3
    assert one.identity["pace"] == 2e-3
    assert sweep.published.rows == ({"value": 1.0, "base": "small"},)
