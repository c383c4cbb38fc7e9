"""List the scores of a run as the hub reads them: results on data sets that have a hub id."""

from typing import TYPE_CHECKING

from anima_exp.config import benchmark_key
from anima_exp.model_card import origin
from anima_exp.model_card.scores import Measured, benchmark_row
from anima_exp.results.record import Record

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK = "text-generation"
_METRICS = {"heldout_loss": "loss", "exact_match": "exact_match"}  # as the hub names them


def eval_results(record: Record, measured: Measured) -> "list[EvalResult]":
    """Return the results on data of the hub. Scores on local or built-in data are left out."""
    found = (_result(record, name, measured) for name in measured.scores)
    return [one for one in found if one]


def _result(record: Record, name: str, measured: Measured) -> "EvalResult | None":
    from huggingface_hub import EvalResult

    settings, value = record.settings, float(measured.scores[name])
    if row := benchmark_row(name, measured.accuracies):
        key = benchmark_key(row["benchmark"])
        source = str(settings[f"{key}.source"])
        if settings[f"{key}.path"] or not _is_hub_id(source):
            return None
        return EvalResult(
            task_type=TASK,
            dataset_type=source,
            dataset_name=source,
            dataset_split=str(settings[f"{key}.split"]),
            dataset_args={
                "num_few_shot": int(settings[f"{key}.shots"]),
                "questions": int(row["asked"]),
            },
            metric_type="accuracy",
            metric_name=name,
            metric_value=value,
        )
    data = origin.data_origin(settings)
    if name not in _METRICS or not data.hub_id or settings["data.heldout_path"]:
        return None
    return EvalResult(
        task_type=TASK,
        dataset_type=data.hub_id,
        dataset_name=f"{data.hub_id}, held-out rows",
        dataset_split=str(settings["data.heldout_split"] or settings["data.split"]),
        metric_type=_METRICS[name],
        metric_name=name,
        metric_value=value,
    )


def _is_hub_id(source: str) -> bool:
    """Return whether a benchmark's source is on the hub; built-in ones are names without a `/`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(source)
    except HFValidationError:
        return False
    return "/" in source
