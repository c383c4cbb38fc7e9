"""The project's own training loop over a base with random weights: what is timed and counted."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS / "contenders")]

from material import composed  # noqa: E402

from anima_exp.distributed.world import SINGLE_PROCESS  # noqa: E402
from anima_exp.experiment.model_setup import load_model  # noqa: E402
from anima_exp.experiment.setup import largest_rank_load  # noqa: E402
from anima_exp.model.base import DTYPES, device  # noqa: E402
from anima_exp.system.hardware import use_expandable_segments  # noqa: E402
from anima_exp.training.best import Best  # noqa: E402
from anima_exp.training.loop import Loop  # noqa: E402


def loaded_run(
    make_base: Callable[..., Any], rows: Any, settings: Sequence[str], *, batch: int, cache: Path
) -> tuple[Any, Any]:
    """Return the config of a run in bf16, and its model with an adapter, chosen and loaded as ever.

    Args:
        make_base: takes `device` and `dtype`; stands for load_base.
        settings: beside those of every measurement, which they may replace.
        batch: rows of an optimizer step.
    """
    use_expandable_segments()  # as every command does
    config = composed(
        [
            "trainer.precision=bf16", "lora.dropout=0.1", f"trainer.batch_size={batch}",
            *settings,
        ]
    )  # fmt: skip

    def load_base(*_: Any, precision: Any, **__: Any) -> Any:
        return make_base(device=device(), dtype=DTYPES[precision])

    with patch("anima_exp.experiment.model_setup.load_base", load_base):
        loaded = load_model(
            config,
            largest_rank_load(rows, np.arange(len(rows)), batch),
            SINGLE_PROCESS,
            cache=cache,
            longest=int(rows.lengths.max()),
        )
    return config, loaded


def loop_over(
    rows: Any,
    order: Any,
    config: Any,
    loaded: Any,
    *,
    folder: Path,
    log: Callable[[dict[str, Any]], None],
) -> Loop:
    """Return the training loop of a run that is not evaluated."""
    return Loop(
        model=loaded.model,
        tokenizer=None,  # used in checkpoints only
        rows=rows,
        order=order,
        config=config,
        keys=loaded.dropout,
        token_budget=loaded.execution.token_budget,
        paged=loaded.execution.paged,
        world=SINGLE_PROCESS,
        lockstep=False,
        folder=folder,
        log=log,
        vouch=dict,
        evaluate=lambda step: {},
        best=Best.of(config.trainer),
    )
