"""Log metrics and generations to MLflow: a server, or a database in the folder of the runs.

Passwords and tokens come from MLflow's own environment variables or `mlflow.login()`.
"""

import json
import logging
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from anima_exp.config import RunConfig
from anima_exp.errors import without_password
from anima_exp.libraries.log_level import log_level
from anima_exp.results.trackers.base import Held, Pairs, Row, TrackedRun, without_secrets
from anima_exp.system.atomic import atomic_write_text
from anima_exp.system.paths import expanded

_MAX_PER_REQUEST = 100  # parameters or metrics that MLflow accepts in one request
_MAX_CHARACTERS = 6000  # in the value of a parameter; settings.json has all of it
_NOT_IN_A_NAME = re.compile(r"[^\w\-./: ]")


class MLflow:
    label = "MLflow"
    live = True

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._uri = tracking_uri(run.config)
        self._held = Held()
        self._new = True
        shown = without_secrets(without_password(self._uri))
        project = run.config.tracking.project
        self.note: str | None = (
            f"MLflow: {shown} (experiment {project})"
            if _is_server(self._uri)
            else f"MLflow: mlflow ui --backend-store-uri {shlex.quote(shown)}"
        )

    def start(self) -> None:
        with _quiet():
            from mlflow.tracking import MlflowClient

            if self._uri == _local_uri(self._run.config):
                _local_folder(self._run.config).mkdir(parents=True, exist_ok=True)
            self._client: Any = MlflowClient(tracking_uri=self._uri)
            self._id = self._earlier_run() or self._new_run()

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        self.log(rows)
        for step, pairs in generations:
            if self._new:
                self.log_generations(step, pairs)

    def log(self, rows: Sequence[Row]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        named = [
            (step, {_NOT_IN_A_NAME.sub("_", key): value for key, value in values.items()})
            for step, values in rows
        ]
        new = [
            Metric(key, value, now, step)
            for step, values in self._held.missing(named)
            for key, value in values.items()
        ]
        for first in range(0, len(new), _MAX_PER_REQUEST):
            self._client.log_batch(self._id, metrics=new[first : first + _MAX_PER_REQUEST])

    def log_generations(self, step: int, pairs: Pairs) -> None:
        rows = [[step, prompt, response] for prompt, response in pairs]
        table = {"columns": ["step", "prompt", "response"], "data": rows}
        self._client.log_dict(self._id, table, f"generations/step_{step:08d}.json")

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        ended = "FAILED" if failed else "KILLED" if scores is None else "FINISHED"
        self._client.set_terminated(self._id, ended)

    @property
    def _id_file(self) -> Path:
        return self._run.folder / "mlflow_id.txt"

    def _earlier_run(self) -> str | None:
        """Return the run of an earlier start, if this server still has it."""
        from mlflow.exceptions import MlflowException

        if not self._id_file.exists():
            return None
        known = self._id_file.read_text(encoding="utf-8").strip()
        try:
            there = self._client.get_run(known)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        if there.info.lifecycle_stage != "active":
            return None
        self._new = False
        self._held = Held(
            {
                key: max(one.step for one in self._client.get_metric_history(known, key))
                for key in there.data.metrics
            }
        )
        self._client.update_run(known, status="RUNNING")
        return known

    def _new_run(self) -> str:
        from mlflow.entities import Param

        config = self._run.config
        tags = {tag: "true" for tag in self._run.tags}
        if config.tracking.group:
            tags["group"] = config.tracking.group
        experiment = self._experiment(config.tracking.project)
        made = self._client.create_run(experiment, run_name=self._run.name, tags=tags)
        params = [
            Param(key, _parameter(value)[:_MAX_CHARACTERS])
            for key, value in self._run.settings.items()
        ]
        for first in range(0, len(params), _MAX_PER_REQUEST):
            part = params[first : first + _MAX_PER_REQUEST]
            self._client.log_batch(made.info.run_id, params=part)
        self._client.log_dict(made.info.run_id, dict(self._run.settings), "settings.json")
        atomic_write_text(self._id_file, made.info.run_id)
        return str(made.info.run_id)

    def _experiment(self, name: str) -> str:
        """Return the id of the experiment `name`, which another run may create at the same time."""
        from mlflow.exceptions import MlflowException

        there = self._client.get_experiment_by_name(name)
        if there is None:
            local = self._uri == _local_uri(self._run.config)
            place = (_local_folder(self._run.config) / "artifacts").as_uri() if local else None
            try:
                return str(self._client.create_experiment(name, artifact_location=place))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                there = self._client.get_experiment_by_name(name)
        return str(there.experiment_id)


def tracking_uri(config: RunConfig) -> str:
    """Return `tracking.mlflow_uri`, MLFLOW_TRACKING_URI or a database in the folder of the runs."""
    chosen = config.tracking.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return chosen or _local_uri(config)


def needs_database(config: RunConfig) -> bool:
    """Return whether MLflow itself opens the database, with the package SQLAlchemy."""
    return not _is_server(tracking_uri(config))


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://", "databricks"))


def _local_folder(config: RunConfig) -> Path:
    return expanded(config.runs_dir, "runs_dir").absolute() / "mlflow"


def _local_uri(config: RunConfig) -> str:
    return f"sqlite:///{_local_folder(config) / 'mlflow.db'}"


def _parameter(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quiet() -> AbstractContextManager[None]:
    """Silence MLflow's lines about the tables of a new database."""
    return log_level("mlflow.store.db", logging.WARNING)
