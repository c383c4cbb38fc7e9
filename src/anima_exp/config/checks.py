"""Check the rules that span several settings, before anything is loaded."""

import re

from anima_exp.config import (
    AnsweringConfig,
    DataConfig,
    OptimizerConfig,
    RunConfig,
    Schedule,
)
from anima_exp.config.catalogue import check_rows_seen
from anima_exp.config.data import GENERATED
from anima_exp.config.evals_checks import check_evals
from anima_exp.config.lora_checks import check_lora
from anima_exp.config.mixture import SOURCES, heldout_rows
from anima_exp.errors import ConfigError


def check(config: RunConfig) -> None:
    """Raise ConfigError at the first rule the settings break, in the words of the command line."""
    _data(config)
    check_evals(config.evals, eval_at_start=config.trainer.eval_at_start)
    check_lora(config)
    _storage(config)
    _schedule(config)
    _best(config)
    _several_gpus(config)
    _tracking(config)
    if config.evals.answers:
        _answering(config.evals.answers, "evals.answers.")
    if isinstance(config, AnsweringConfig):
        _answering(config, "")


def check_warmup(optimizer: OptimizerConfig, steps: int, named: str) -> None:
    """Raise ConfigError if the warm-up is longer than a run of `steps` optimizer steps.

    Args:
        named: the steps as the message calls them.
    """
    warmup = optimizer.warmup_steps or 0
    if warmup > steps:
        raise ConfigError(
            f"optimizer.warmup_steps={warmup} is more than {named}, so the learning rate would "
            "never reach optimizer.learning_rate. Lower optimizer.warmup_steps."
        )


def check_length(config: RunConfig) -> None:
    """Raise ConfigError unless the settings say how long to train."""
    trainer = config.trainer
    if trainer.max_steps is None and trainer.num_epochs is None:
        raise ConfigError(
            "The run has no length. Set trainer.max_steps=1000 or trainer.num_epochs=3."
        )


_MOST_SAMPLE_ROWS = 10_000_000


def _data(config: RunConfig) -> None:
    data = config.data
    for key, name in (("model.name", config.model.name), ("data.name", data.name)):
        if not re.fullmatch(r"[\w.-]+", name):  # it becomes part of a folder's name
            raise ConfigError(
                f"{key}={name} may contain only letters, digits, '_', '-' and '.', because it "
                "becomes part of a folder's name."
            )
    _mixture(data)
    if data.path and data.source:
        raise ConfigError(
            f"data.path={data.path} and data.source={data.source} are both set, but a run has one "
            "source. For a file, use data=local data.path=..."
        )
    if data.source in GENERATED and (data.max_rows or 0) > _MOST_SAMPLE_ROWS:
        raise ConfigError(
            f"data.max_rows={data.max_rows} must be at most {_MOST_SAMPLE_ROWS:,} for "
            f"data={data.source}, which generates its rows in memory."
        )
    if not data.path and not data.source and not data.parts:
        if data.name == "mixture":
            raise ConfigError(
                "data=mixture needs parts. Add data.parts.NAME.path=FILE data.parts.NAME.recipe="
                "RECIPE for each, with names of your choice."
            )
        raise ConfigError(
            "data=local needs a file. Add data.path=FILE (json, jsonl, csv, tsv, parquet)."
        )
    if data.heldout_path and data.heldout_split:
        raise ConfigError(
            f"data.heldout_path={data.heldout_path} and data.heldout_split={data.heldout_split} "
            "are both set, but held-out rows come from one of them. Leave one out."
        )
    evals = config.evals
    if heldout_rows(data) == 0 and (evals.heldout or evals.exact_match):
        where = "Every data.parts.NAME.heldout_rows=0" if data.parts else "data.heldout_rows=0"
        raise ConfigError(
            f"{where} leaves no rows for the evaluations of held-out rows. "
            "Set data.heldout_rows, or use evals=[] or evals=[samples]."
        )


def _mixture(data: DataConfig) -> None:
    if not data.parts:
        for key in ("mix_size", "mix_total"):
            if (value := getattr(data, key)) is not None:
                raise ConfigError(
                    f"data.{key}={value} is for mixtures, but data has no parts. Use data=mixture "
                    "with data.parts.NAME.path=FILE, or leave it out."
                )
        return
    for key in SOURCES:
        if value := getattr(data, key):
            raise ConfigError(
                f"data.{key}={value} and data.parts are both set, but the rows of a mixture come "
                f"from its parts. Use data.parts.NAME.{key} instead."
            )
    if data.mix_size is not None and data.mix_total is not None:
        raise ConfigError(
            f"data.mix_size={data.mix_size.value} and data.mix_total={data.mix_total} contradict "
            "each other. Leave one out."
        )


def _storage(config: RunConfig) -> None:
    if config.model.max_memory_gib and not config.model.device_map:
        raise ConfigError(
            f"model.max_memory_gib={config.model.max_memory_gib} has no effect without a device "
            "map. Add model.device_map=auto."
        )
    four_bits = config.quant.is_4bit
    if config.quant.cache_dequantized and not four_bits:
        raise ConfigError(
            "quant.cache_dequantized=true needs 4-bit weights, but quant.type="
            f"{config.quant.type.value}. Use quant=nf4 or quant=fp4."
        )
    if config.quant.double_quant and not four_bits:
        raise ConfigError(
            "quant.double_quant=true needs 4-bit weights, but quant.type="
            f"{config.quant.type.value}. Use quant=nf4 or quant=fp4."
        )


def _schedule(config: RunConfig) -> None:
    trainer, optimizer = config.trainer, config.optimizer
    if trainer.max_steps is not None and trainer.num_epochs is not None:
        raise ConfigError(
            f"trainer.max_steps={trainer.max_steps} and trainer.num_epochs={trainer.num_epochs} "
            "contradict each other. Set one of them to null."
        )
    if trainer.max_steps is not None:
        rows = trainer.max_steps * trainer.batch_size
        check_rows_seen(rows, key=f"trainer.max_steps={trainer.max_steps}")
    if optimizer.warmup_ratio and optimizer.warmup_steps is not None:
        raise ConfigError(
            f"optimizer.warmup_ratio={optimizer.warmup_ratio} and optimizer.warmup_steps="
            f"{optimizer.warmup_steps} contradict each other. Set optimizer.warmup_ratio=0 or "
            "optimizer.warmup_steps=null."
        )
    if trainer.max_steps is not None:
        check_warmup(optimizer, trainer.max_steps, f"trainer.max_steps={trainer.max_steps}")
    warmup = optimizer.warmup_steps or 0
    schedule = optimizer.schedule
    if schedule is Schedule.constant_with_warmup and not (optimizer.warmup_ratio or warmup):
        raise ConfigError(
            "optimizer.schedule=constant_with_warmup needs a warm-up. Set "
            "optimizer.warmup_ratio=0.03, for example, or optimizer.warmup_steps."
        )
    if optimizer.min_learning_rate_ratio and schedule not in _WITH_A_FLOOR:
        raise ConfigError(
            f"optimizer.min_learning_rate_ratio={optimizer.min_learning_rate_ratio} has no effect "
            f"with optimizer.schedule={schedule.value}. Use optimizer.schedule=cosine or "
            "warmup_stable_decay."
        )
    if schedule is Schedule.warmup_stable_decay:
        share = optimizer.decay_ratio + (warmup / trainer.max_steps if trainer.max_steps else 0)
        if share + optimizer.warmup_ratio > 1:
            raise ConfigError(
                f"optimizer.decay_ratio={optimizer.decay_ratio} and the warm-up take more than all "
                "steps of optimizer.schedule=warmup_stable_decay. Lower one of them."
            )
    elif optimizer.decay_ratio != OptimizerConfig.decay_ratio:
        raise ConfigError(
            f"optimizer.decay_ratio={optimizer.decay_ratio} has no effect with optimizer.schedule="
            f"{schedule.value}. Use optimizer.schedule=warmup_stable_decay."
        )
    if optimizer.lora_plus_ratio and config.lora.is_full_finetune:
        raise ConfigError(
            f"optimizer.lora_plus_ratio={optimizer.lora_plus_ratio} scales the learning rate of "
            "LoRA's B, but lora=full_finetune has no LoRA. Set optimizer.lora_plus_ratio=null, or "
            "keep an adapter."
        )


_WITH_A_FLOOR = (Schedule.cosine, Schedule.warmup_stable_decay)


def _best(config: RunConfig) -> None:
    trainer = config.trainer
    for key in ("keep_best", "patience"):
        if (value := getattr(trainer, key)) is not None and trainer.eval_every is None:
            raise ConfigError(
                f"trainer.{key}={value} compares evaluations during training, but "
                "trainer.eval_every=null makes none. Set trainer.eval_every=50, for example."
            )
    if trainer.patience and not trainer.keep_best and not config.evals.heldout:
        raise ConfigError(
            f"trainer.patience={trainer.patience} looks at heldout_loss, which evals does not "
            "measure. Set trainer.keep_best to another score, or add evals=[heldout]."
        )


def _several_gpus(config: RunConfig) -> None:
    launcher, trainer = config.launcher, config.trainer
    if launcher.jobs_per_gpu > 1 and launcher.gpus_per_job > 1:
        raise ConfigError(
            f"launcher.jobs_per_gpu={launcher.jobs_per_gpu} and launcher.gpus_per_job="
            f"{launcher.gpus_per_job} contradict each other: either runs share a GPU, or a run "
            "has several. Set one of them to 1."
        )
    if config.model.device_map and (trainer.num_gpus or 1) > 1:
        raise ConfigError(
            f"model.device_map={config.model.device_map} spreads one process over the GPUs, but "
            f"trainer.num_gpus={trainer.num_gpus} starts one on each. Use trainer.fsdp=true, or "
            "set one of the two to null."
        )
    if trainer.fsdp and config.quant.cache_dequantized:
        raise ConfigError(
            "trainer.fsdp=true shards the base, but quant.cache_dequantized=true keeps a "
            "copy of all of it. Set one of them to null."
        )
    if trainer.fsdp and config.lora.is_full_finetune:
        raise ConfigError(
            "trainer.fsdp=true shards a frozen base, but lora=full_finetune trains every weight. "
            "Keep an adapter, or use model.device_map=auto."
        )


def _tracking(config: RunConfig) -> None:
    tracking = config.tracking
    for name in ("mlflow_uri", "trackio_space"):
        value, tracker = getattr(tracking, name), name.partition("_")[0]
        if value and not getattr(tracking, tracker):
            raise ConfigError(
                f"tracking.{name}={value} has no effect, because {tracker} is off. Choose it with "
                f"tracking={tracker}, or with others: tracking=[wandb,{tracker}]."
            )


def _answering(config: AnsweringConfig, group: str) -> None:
    if config.stop and "" in config.stop:
        raise ConfigError(
            f"{group}stop contains an empty string, which would end every answer immediately. "
            "Remove it."
        )
