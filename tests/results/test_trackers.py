"""Several trackers at once: what each has written is read back with its own library.

A library that is not installed is replaced by a stand-in, which holds what it is given in memory.
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from anima_exp.errors import ConfigError
from anima_exp.results import identity, tracking
from anima_exp.results.journal import MetricsLog
from anima_exp.results.trackers import background
from anima_exp.results.trackers.background import InBackground
from anima_exp.results.tracking import Tracker

pytestmark = [
    pytest.mark.usefixtures("shown"),
    # MLflow's own, about SQLAlchemy's next version.
    pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated"),
]
METHODS = ("start", "resume", "log", "log_generations", "finish")


class Recorder:
    label, note, live = "Recorder", "Recorder: look here", True

    def __init__(self, run, fails=()):
        self.run, self.fails, self.seen = run, fails, []

    def _do(self, name, *what):
        if name in self.fails:
            raise RuntimeError(f"no {name}.\nsecond line")
        self.seen.append((name, *what))

    def start(self):
        self._do("start")

    def resume(self, rows, generations):
        self._do("resume", rows, generations)

    def log(self, rows):
        for row in rows:
            self._do("log", row)

    def log_generations(self, step, pairs):
        self._do("log_generations", step, pairs)

    def finish(self, scores, *, failed):
        self._do("finish", scores, failed)


def use(tracker):
    tracker.resume([{"step": 1, "loss": 3.0}], [(1, [("q", "a")])])
    tracker.log({"step": 2, "loss": 2.0, "note": "text", "ok": True, "tokens": 7})
    tracker.log_generations(2, [("q", "a")])
    tracker.finish({"heldout_loss": 1.0})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threaded", [False, True], ids=["direct", "in a thread"])
def test_a_tracker_that_raises_is_dropped_with_one_line_and_the_others_go_on(
    compose, tmp_path, monkeypatch, capsys, method, threaded
):
    whole = []

    def broken(run):
        found = Recorder(run, fails=(method,))
        return InBackground(found) if threaded else found

    def good(run):
        whole.append(Recorder(run))
        return whole[0]

    monkeypatch.setattr(tracking, "_TRACKERS", {"tensorboard": broken, "wandb": good})
    tracker = Tracker(compose("tracking=[wandb,tensorboard]"), tmp_path)
    use(tracker)
    told = [line for line in capsys.readouterr().out.splitlines() if "is off" in line]
    off = f"TensorBoard is off: no {method}. The run continues, and metrics.jsonl has every value."
    assert told == [f"track    {off}"]
    assert tracker.notes == {"tensorboard": off, "wandb": "Recorder: look here"}
    assert whole[0].seen == [
        ("start",),
        ("resume", [(1, {"loss": 3.0})], [(1, [("q", "a")])]),
        ("log", (2, {"loss": 2.0, "tokens": 7})),
        ("log_generations", 2, [("q", "a")]),
        ("finish", {"heldout_loss": 1.0}, False),
    ]


def test_a_tracker_that_hangs_delays_the_run_only_at_its_end_and_within_its_limit(
    compose, tmp_path, monkeypatch
):
    monkeypatch.setattr(background, "LAST_CONTACT_SECONDS", 1)
    free = threading.Event()

    class Hangs(Recorder):
        def start(self):
            free.wait(10)

    def hangs(run):
        return InBackground(Hangs(run))

    monkeypatch.setattr(tracking, "_TRACKERS", {"mlflow": hangs, "trackio": hangs})
    monkeypatch.setattr(tracking, "chosen", lambda config: ["mlflow", "trackio"])
    config = compose("tracking=none")
    begun = time.monotonic()
    tracker = Tracker(config, tmp_path)
    tracker.log({"step": 1, "loss": 1.0})
    assert time.monotonic() - begun < 1
    begun = time.monotonic()
    tracker.finish()
    assert 1 <= time.monotonic() - begun < 1.9  # both wait at the same time
    late = "Recorder did not accept everything within 1 s. metrics.jsonl has every value."
    assert tracker.notes == {"mlflow": late, "trackio": late}
    free.set()


def test_rows_that_wait_for_a_slow_tracker_are_sent_together(compose, tmp_path):
    free, calls = threading.Event(), []

    class Slow(Recorder):
        def start(self):
            free.wait(10)

        def log(self, rows):
            calls.append(rows)

    tracker = InBackground(Slow(None))
    tracker.start()
    for step in range(3):
        tracker.log([(step, {"loss": 1.0})])
    free.set()
    tracker.finish(None, failed=False)
    assert calls == [[(0, {"loss": 1.0}), (1, {"loss": 1.0}), (2, {"loss": 1.0})]]


# What each library holds, read with the library itself.


class TensorBoardFiles:
    name = "tensorboard"

    def __init__(self, folder, monkeypatch):
        pytest.importorskip("tensorboard")

    def read(self, folder):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(folder / "tensorboard"))
        found.Reload()
        scalars = found.Tags()["scalars"]
        metrics = {key: [(e.step, e.value) for e in found.Scalars(key)] for key in scalars}
        if "generations/text_summary" not in found.Tags()["tensors"]:
            return metrics, []
        return metrics, [e.step for e in found.Tensors("generations/text_summary")]

    def settings(self, folder):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

        found = EventAccumulator(str(folder / "tensorboard"))
        found.Reload()
        content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        values = parse_session_start_info_plugin_data(content).hparams
        return values["lora.rank"].number_value, values["data.name"].string_value


@cache
def empty_database():
    """A database with MLflow's tables, which take seconds to create."""
    from mlflow.tracking import MlflowClient

    file = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


class MLflowStore:
    name = "mlflow"

    def __init__(self, folder, monkeypatch):
        self.uri = f"sqlite:///{folder}/runs/mlflow/mlflow.db"
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        if find_spec("mlflow"):
            database = folder / "runs" / "mlflow" / "mlflow.db"
            database.parent.mkdir(parents=True)
            shutil.copy(empty_database(), database)
        else:
            for name, module in stand_in_mlflow().items():
                monkeypatch.setitem(sys.modules, name, module)

    def _run(self, folder):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        return client, client.get_run((folder / "mlflow_id.txt").read_text())

    def read(self, folder):
        client, run = self._run(folder)
        metrics = {
            key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        files = client.list_artifacts(run.info.run_id, "generations")
        return metrics, [int(file.path[-13:-5]) for file in files]

    def settings(self, folder):
        params = self._run(folder)[1].data.params
        return float(params["lora.rank"]), params["data.name"]


class TrackioStore:
    name = "trackio"

    def __init__(self, folder, monkeypatch):
        for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
            monkeypatch.delenv(name, raising=False)
        if find_spec("trackio"):
            for name in ("utils", "sqlite_storage"):
                monkeypatch.setattr(f"trackio.{name}.TRACKIO_DIR", folder / "trackio")
        else:
            for name, module in stand_in_trackio().items():
                monkeypatch.setitem(sys.modules, name, module)

    def _rows(self, folder):
        from trackio.sqlite_storage import SQLiteStorage

        run_id = (folder / "trackio_id.txt").read_text()
        return SQLiteStorage.get_logs("anima_exp", self.run_name, run_id=run_id)

    def read(self, folder):
        metrics = defaultdict(list)
        for row in self._rows(folder):
            for key in row.keys() - {"step", "timestamp"}:
                metrics[key].append((row["step"], row[key]))
        return metrics, [step for step, _ in metrics.pop("generations", [])]

    def settings(self, folder):
        from trackio.sqlite_storage import SQLiteStorage

        config = SQLiteStorage.get_run_config("anima_exp", self.run_name)
        return config["lora.rank"], config["data.name"]


def stand_in_mlflow():
    runs = defaultdict(lambda: SimpleNamespace(metrics=defaultdict(list), params={}, files=[]))

    class Refused(Exception):
        error_code = "RESOURCE_DOES_NOT_EXIST"

    class Client:
        def __init__(self, tracking_uri):
            self.uri = tracking_uri

        def get_run(self, run_id):
            if run_id not in runs:
                raise Refused
            info = SimpleNamespace(run_id=run_id, lifecycle_stage="active")
            return SimpleNamespace(info=info, data=runs[run_id])

        def create_run(self, experiment, *, run_name, tags):
            run_id = f"{len(runs):032}"
            assert runs[run_id]
            return self.get_run(run_id)

        def get_experiment_by_name(self, name):
            return SimpleNamespace(experiment_id="1")

        def update_run(self, run_id, status):
            assert status == "RUNNING"

        def log_batch(self, run_id, metrics=(), params=()):
            for one in metrics:
                runs[run_id].metrics[one.key].append(one)
            runs[run_id].params |= {one.key: one.value for one in params}

        def get_metric_history(self, run_id, key):
            return runs[run_id].metrics[key]

        def log_dict(self, run_id, dictionary, file):
            if file not in runs[run_id].files:
                runs[run_id].files.append(file)

        def list_artifacts(self, run_id, path):
            files = [file for file in runs[run_id].files if file.startswith(path)]
            return [SimpleNamespace(path=file) for file in files]

        def set_terminated(self, run_id, status):
            assert status in ("FINISHED", "KILLED", "FAILED")

    def metric(key, value, timestamp, step):
        return SimpleNamespace(key=key, value=value, step=step)

    def param(key, value):
        return SimpleNamespace(key=key, value=value)

    return modules(
        {
            "mlflow": {},
            "mlflow.tracking": {"MlflowClient": Client},
            "mlflow.entities": {"Metric": metric, "Param": param},
            "mlflow.exceptions": {"MlflowException": Refused},
        }
    )


def stand_in_trackio():
    logs, configs = defaultdict(list), {}

    class Run:
        def __init__(self, project, name, config):
            self.project, self.name, self.id = project, name, f"{len(logs):032}"
            self._next_step = 0
            configs[name] = config
            assert logs[self.id] == []

        def log(self, metrics, step):
            logs[self.id].append({**metrics, "step": step, "timestamp": ""})

        def finish(self):
            pass

    class Storage:
        @staticmethod
        def get_logs(project, run, run_id):
            return logs[run_id]

        @staticmethod
        def get_run_config(project, run):
            return configs[run]

    def init(project, name, config, **_):
        return Run(project, name, config)

    return modules(
        {
            "trackio": {"init": init, "Table": lambda columns, data: {"data": data}},
            "trackio.run": {},
            "trackio.utils": {},
            "trackio.sqlite_storage": {"SQLiteStorage": Storage},
        }
    )


def modules(contents):
    made = {name: ModuleType(name) for name in contents}
    for name, values in contents.items():
        vars(made[name]).update(values)
    return made


STORES = {one.name: one for one in (TensorBoardFiles, MLflowStore, TrackioStore)}


@pytest.fixture
def setting(compose, tmp_path, monkeypatch):
    """setting("mlflow") -> the config of a run that uses it, its folder, and its store."""

    def make(*names):
        stores = [STORES[name](tmp_path, monkeypatch) for name in names]
        config = compose(f"tracking=[{','.join(names)}]", f"runs_dir={tmp_path}/runs")
        folder = tmp_path / "runs" / "run"
        folder.mkdir(parents=True, exist_ok=True)
        for store in stores:
            store.run_name = identity.run_name(config)
        return config, folder, stores

    return make


def start(config, folder, *, resumed_at=None, steps=4):
    redo_from = 0 if resumed_at is None else min(resumed_at + 1, steps)
    tracker = Tracker(config, folder, redo_from=redo_from)
    journal = MetricsLog(folder, tracker=tracker, steps=steps, resumed_at=resumed_at)
    if resumed_at is not None:
        journal.resume_tracking()
    return journal


def train(journal, steps):
    for step in steps:
        if step:
            journal.trained({"step": step, "loss": 8 - step, "tokens_per_second": 10 * step})
        if step % 2 == 0:
            journal.evaluated(step, {"heldout_loss": 9 - step}, [("q", f"at {step}")], 0.5)


WHOLE = {
    "loss": [(1, 7), (2, 6), (3, 5), (4, 4)],
    "tokens_per_second": [(1, 10), (2, 20), (3, 30), (4, 40)],
    "heldout_loss": [(0, 9), (2, 7), (4, 5)],
    "eval_seconds": [(0, 0.5), (2, 0.5), (4, 0.5)],
}


def test_every_tracker_has_the_same_metrics_and_generations_at_the_same_steps(setting, capsys):
    names = [name for name in STORES if name != "tensorboard" or find_spec("tensorboard")]
    config, folder, stores = setting(*names)
    journal = start(config, folder)
    train(journal, range(5))
    journal.finish(4)
    for store in stores:
        assert store.read(folder) == (WHOLE, [0, 2, 4]), store.name
        assert store.settings(folder) == (64, "sample"), store.name
    assert list(journal.tracker.notes) == names
    shown = capsys.readouterr().out
    assert all(f"track    {note}" in shown for note in journal.tracker.notes.values())
    assert "Trackio project" not in shown


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize(("resumed_at", "killed_after"), [(2, 3), (4, 4), (None, 1)])
def test_a_run_that_was_killed_and_resumed_has_every_step_once(
    setting, name, resumed_at, killed_after
):
    config, folder, (store,) = setting(name)
    journal = start(config, folder)
    train(journal, range(killed_after + 1))
    journal.failed(orderly=False)
    again = start(config, folder, resumed_at=resumed_at)
    train(again, range((resumed_at or 0) + 1 if resumed_at else 0, 5))
    if resumed_at == 4:  # the evaluation of the last step comes after the last checkpoint
        again.evaluated(4, {"heldout_loss": 5}, [("q", "at 4")], 0.5)
    again.finish(4)
    assert "is off" not in again.tracker.notes[name]
    assert store.read(folder) == (WHOLE, [0, 2, 4])


@pytest.mark.parametrize("name", STORES)
def test_a_tracker_that_is_chosen_when_a_run_resumes_gets_the_steps_before(setting, compose, name):
    config, folder, (store,) = setting(name)
    journal = start(compose("tracking=none"), folder)
    train(journal, range(4))
    again = start(config, folder, resumed_at=2)
    train(again, range(3, 5))
    again.finish(4)
    assert store.read(folder) == (WHOLE, [0, 2, 4])


@pytest.mark.parametrize("name", ["mlflow", "trackio"])
def test_two_folders_of_the_same_settings_are_two_runs(setting, name):
    config, folder, (store,) = setting(name)
    for place in (folder, folder.with_name("copy")):
        place.mkdir(exist_ok=True)
        journal = start(config, place)
        train(journal, range(3))
        journal.failed(orderly=True)
    again = start(config, folder, resumed_at=2)  # trackio would resume the newer of the two
    train(again, range(3, 5))
    again.finish(4)
    assert store.read(folder) == (WHOLE, [0, 2, 4])
    assert store.read(folder.with_name("copy"))[0]["loss"] == WHOLE["loss"][:2]


def test_a_server_that_never_answers_costs_a_bounded_time_and_no_secret_is_shown(
    compose, tmp_path, monkeypatch, silent, capsys
):
    pytest.importorskip("mlflow")
    pytest.importorskip("trackio")
    monkeypatch.setattr(background, "LAST_CONTACT_SECONDS", 0.5)
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    monkeypatch.setenv("TRACKIO_SERVER_URL", f"{silent[0]}/?write_token=very-secret")
    address = silent[0].replace("//", "//me:very-secret@")
    config = compose("tracking=[mlflow,trackio]", f"tracking.mlflow_uri={address}")
    begun = time.monotonic()
    tracker = Tracker(config, tmp_path)
    tracker.log({"step": 1, "loss": 1.0})
    tracker.finish({"heldout_loss": 1.0})
    assert time.monotonic() - begun < 3
    for label, note in zip(("MLflow", "trackio"), tracker.notes.values(), strict=True):
        assert note == (
            f"{label} did not accept everything within 0.5 s. metrics.jsonl has every value."
        )
    shown = capsys.readouterr().out
    assert f"track    MLflow: {silent[0]} (experiment anima_exp)\n" in shown
    assert "very-secret" not in shown + json.dumps(tracker.notes)


def test_an_error_of_a_library_shows_no_secret(compose, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "my-own-secret")

    class Fails(Recorder):
        def start(self):
            raise RuntimeError("401 for my-own-secret at http://me:pw@host/?api_key=abc&x=1")

    monkeypatch.setattr(tracking, "_TRACKERS", {"wandb": Fails})
    tracker = Tracker(compose("tracking=wandb"), tmp_path)
    assert tracker.notes["wandb"].startswith(
        "W&B is off: 401 for *** at http://***host/?api_key=***&x=1. "
    )


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_a_mistake_in_one_line(compose, monkeypatch, name):
    from anima_exp.experiment.preflight import check_dry, check_hubs, check_machine

    monkeypatch.setattr(tracking, "find_spec", lambda one: None if one == name else one)
    config = compose(f"tracking=[wandb,{name}]")
    for check in (check_machine, lambda one: check_hubs([one]), lambda one: check_dry([one])):
        with pytest.raises(ConfigError) as error:
            check(config)
        assert str(error.value) == (
            f"tracking={name} needs {name}, which is not installed: pip install 'anima-exp[{name}]'"
        )
    check_machine(compose())  # W&B is the default, and is always installed


def test_mlflow_without_a_server_needs_a_database_library(compose, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "find_spec", lambda one: None if one == "alembic" else one)
    tracking.check_installed(compose("tracking=mlflow", "tracking.mlflow_uri=https://host"))
    with pytest.raises(ConfigError, match="tracking=mlflow needs alembic, which is not installed"):
        tracking.check_installed(compose("tracking=mlflow"))


def test_trackers_change_no_run_and_are_chosen_by_name_or_list(compose):
    plain = compose("tracking=none")
    assert tracking.chosen(plain) == []
    for text, names in {
        "wandb": ["wandb"],
        "mlflow": ["mlflow"],
        "[wandb]": ["wandb"],
        "[trackio,wandb,tensorboard,mlflow]": ["wandb", "tensorboard", "mlflow", "trackio"],
    }.items():
        config = compose(f"tracking={text}")
        assert tracking.chosen(config) == names
        assert identity.run_name(config) == identity.run_name(plain)
    also = compose("tracking=tensorboard", "tracking.mode=offline", "tracking.project=x")
    assert tracking.chosen(also) == ["wandb", "tensorboard"]


@pytest.mark.parametrize(
    ("key", "tracker"), [("mlflow_uri", "mlflow"), ("trackio_space", "trackio")]
)
def test_a_setting_of_a_tracker_that_is_off_is_a_mistake(compose, key, tracker):
    with pytest.raises(ConfigError) as error:
        compose(f"tracking.{key}=x")
    assert str(error.value) == (
        f"tracking.{key}=x has no effect, because {tracker} is off. Choose it with "
        f"tracking={tracker}, or with others: tracking=[wandb,{tracker}]."
    )
