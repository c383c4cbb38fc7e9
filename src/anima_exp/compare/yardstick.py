"""Whether the runs were measured alike: a score on other rows is another score."""

from collections.abc import Sequence

from anima_exp.compare.metric import Metric
from anima_exp.compare.runs import Run
from anima_exp.compare.settings import comparable

_ON_HELDOUT_ROWS = ("heldout_loss", "exact_match")
# What decides which rows are held out, and how much of them is seen.
_DECISIVE = (
    "data.rows",
    "data.recipe",
    "data.heldout_rows",
    "data.heldout_split",
    "data.heldout_path",
    "data.heldout_seed",
    "data.max_prompt_tokens",
    "data.max_response_tokens",
)


def caution(runs: Sequence[Run], metric: Metric) -> str | None:
    """One sentence for the reader where the scores of `runs` do not compare; None if they do."""
    if metric.name not in _ON_HELDOUT_ROWS:
        return None
    which = [*_DECISIVE, f"evals.{metric.name.removesuffix('_loss')}.max_rows"]
    differ = [key for key in which if len({comparable(r.settings.get(key)) for r in runs}) > 1]
    own_file = all(run.settings.get("data.heldout_path") for run in runs)
    sources = {run.record.data_fingerprint for run in runs if run.record}
    if len(sources) > 1 and not own_file:
        differ.insert(0, "the data")
    if not differ:
        return None
    return (
        f"Caution: {metric.name} was not measured on the same rows everywhere: the runs differ in "
        f"{', '.join(differ)}. Compare runs that share them, with --filter; or give all one "
        "data.heldout_path."
    )
