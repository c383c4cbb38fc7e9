"""Load everything that a run needs before its first step: data, evaluations and the model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anima_exp.config import RunConfig
from anima_exp.config.catalogue import check_rows_seen
from anima_exp.config.checks import check_warmup
from anima_exp.data.dataset import prepare
from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.splits import DatasetSplits
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.evals.evaluator import PreparedEvals, check_positions, prepare_evals
from anima_exp.experiment.model_setup import load_model
from anima_exp.experiment.what_is_trained import training_report
from anima_exp.inference.saved_template import warn_of_other_template
from anima_exp.model import adapter_files
from anima_exp.model.base_config import generation_stops, read_config
from anima_exp.model.hashed_dropout import DropoutKeys
from anima_exp.model.linear_layers import Parameters
from anima_exp.model.stored_types import dequantized_format
from anima_exp.model.tokenizer import (
    check_ids,
    embeddings_of,
    largest_id,
    load_tokenizer,
    resolve_source,
)
from anima_exp.planner import lengths as known_lengths
from anima_exp.planner.execution import Execution
from anima_exp.planner.length_stats import LengthStats
from anima_exp.planner.lengths import optimizer_steps, rows_in_all
from anima_exp.planner.memory import Rows
from anima_exp.results import provenance
from anima_exp.results.training_report import TrainingReport
from anima_exp.system import paths
from anima_exp.training.data_order import assign_rows_to_ranks, row_order, set_seed

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Order = NDArray[np.int64]  # row numbers, [steps * batch_size]; epochs may end in a short batch


@dataclass(frozen=True)
class Setup:
    """Everything that a run has in memory before its first step."""

    tokenizer: "PreTrainedTokenizerBase"
    data: DatasetSplits
    evals: PreparedEvals
    model: "PreTrainedModel | PeftModel"
    dropout: DropoutKeys
    parameters: Parameters
    order: Order
    steps: int
    execution: Execution
    evaluators: ProcessGroup  # the processes as they share evaluations
    overhead_gib: float  # memory in use before the model is loaded: on a CPU, by the libraries
    base_fingerprint: str
    base_format: str  # of its files, if they were dequantized first
    adapter_fingerprint: str | None  # of model.adapter
    report: TrainingReport


def load(config: RunConfig, world: ProcessGroup = SINGLE_PROCESS) -> Setup:
    """Load the data and then the model, so that a mistake in the data shows quickly.

    With several processes, one on each machine fills the caches before the others read them.

    Raises:
        AnimaError: if something cannot be read or loaded, or does not fit together.
    """
    provenance.reset_peak_memory()
    set_seed(config.seed)  # before the adapter draws its first numbers
    cache = paths.cache(config.cache_dir)
    tokenizer = load_tokenizer(config.model)
    stops = generation_stops(config.model)
    data = world.main_process_first(
        lambda: prepare(config.data, tokenizer, cache=cache, stops=stops)
    )
    if data.chat:
        if config.model.adapter and world.is_main:
            warn_of_other_template(config.model.adapter, data.chat.template)
        data.chat.use(tokenizer)
    _check_ids(config, tokenizer, data)
    evals = world.main_process_first(lambda: prepare_evals(config, tokenizer, data.heldout))
    if world.is_main:
        known_lengths.save_stats(config, _lengths(data), cache=cache)
    overhead = provenance.memory_in_use_gib()
    seen = rows_in_all(config.trainer, len(data.train))
    check_rows_seen(seen, key=f"trainer.num_epochs={config.trainer.num_epochs}")
    steps = optimizer_steps(config.trainer, len(data.train))
    check_warmup(config.optimizer, steps, f"the {steps} steps of the run")
    order = row_order(
        data.train.lengths,
        rows=seen,
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        group_by_length=config.trainer.group_by_length,
    )
    loaded = load_model(
        config,
        largest_rank_load(data.train, order, config.trainer.batch_size, world.size),
        world,
        cache=cache,
        longest=max(int(rows.lengths.max(initial=0)) for rows in (data.train, data.heldout)),
        first_rows=lambda count: [data.train[int(row)] for row in dict.fromkeys(order[:count])],
    )
    check_positions(loaded.model, evals)
    return Setup(
        tokenizer=tokenizer,
        data=data,
        evals=evals,
        model=loaded.model,
        dropout=loaded.dropout,
        parameters=loaded.parameters,
        order=order,
        steps=steps,
        execution=loaded.execution,
        evaluators=replace(world, lockstep=loaded.execution.sharded),
        overhead_gib=overhead,
        base_fingerprint=provenance.base_fingerprint(
            resolve_source(config.model.source), config.model.revision, cache=cache
        ),
        base_format=dequantized_format(read_config(config.model).to_dict()) or "",
        adapter_fingerprint=_adapter_fingerprint(config),
        report=training_report(
            config, loaded.model, loaded.kinds, data.chat.summary if data.chat else None
        ),
    )


def _adapter_fingerprint(config: RunConfig) -> str | None:
    if config.model.adapter is None:
        return None
    folder = adapter_files.files(config.model.adapter, key="model.adapter")
    return provenance.adapter_fingerprint(folder, cache=paths.cache(config.cache_dir))


def _check_ids(
    config: RunConfig, tokenizer: "PreTrainedTokenizerBase", data: DatasetSplits
) -> None:
    """Raise ModelError if a row contains a token for which the model has no embedding."""
    embeddings = embeddings_of(config.model)
    if embeddings is None or largest_id(tokenizer) < embeddings:
        return
    for rows in (data.train, data.heldout):
        check_ids((rows[number]["input_ids"] for number in range(len(rows))), embeddings)


def largest_rank_load(
    rows: TokenizedDataset, order: Order, batch_size: int, processes: int = 1
) -> Rows:
    """Return the largest number of tokens and labels that a process computes of any batch.

    The memory that a process needs depends on them and on the longest row.
    """
    # Empty rows fill up the last batch. They are assigned last and do not change the result.
    short = -len(order) % batch_size
    lengths, label_counts = (
        np.pad(one[order], (0, short)).reshape(-1, batch_size)
        for one in (rows.lengths, rows.label_counts)
    )
    rank_of_row = assign_rows_to_ranks(lengths, processes)
    tokens, labels = (
        np.stack([np.where(rank_of_row == n, one, 0).sum(axis=1) for n in range(processes)])
        for one in (lengths.astype(np.int64), np.maximum(label_counts, 0).astype(np.int64))
    )
    longest = int(rows.lengths[np.unique(order)].max())
    return Rows(longest, int(tokens.max()), int(labels.max()))


def _lengths(data: DatasetSplits) -> LengthStats:
    rows, counts = len(data.train), data.counts
    return LengthStats(rows, counts.train_tokens / rows, counts.label_tokens / rows)
