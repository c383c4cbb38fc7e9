"""Rehearse a run: `rehearsal_scale=0.1` trains a tenth of the steps on a tenth of the rows."""

from dataclasses import replace

from anima_exp.config import RunConfig

SCALED = (
    "trainer.max_steps",
    "trainer.eval_every",
    "optimizer.warmup_steps",
    "data.max_train_rows",
)


def scale_count(value: int, scale: float) -> int:
    """Return `value` times `scale`, but at least one unit."""
    return max(1, round(value * scale))


def apply_scale(config: RunConfig) -> RunConfig:
    """Return `config` with `scale` applied to what takes time, and to nothing that is compared.

    Learning rate, batch size and lengths stay, and so do the rows held out: a scaled grid has the
    same cells and measures them on the same rows.
    """
    if config.rehearsal_scale == 1.0:
        return config

    def small(value: int | None) -> int | None:
        return None if value is None else scale_count(value, config.rehearsal_scale)

    epochs, samples = config.trainer.num_epochs, config.data.max_train_rows
    trainer = replace(
        config.trainer,
        # Fewer passes where all rows are used; else fewer rows, as often.
        num_epochs=epochs * config.rehearsal_scale if epochs and samples is None else epochs,
        max_steps=small(config.trainer.max_steps),
        eval_every=small(config.trainer.eval_every),
    )
    data = replace(config.data, max_train_rows=small(samples))
    optimizer = replace(config.optimizer, warmup_steps=small(config.optimizer.warmup_steps))
    return replace(config, trainer=trainer, optimizer=optimizer, data=data)
