"""`scale=0.1` -> the same run in small: a tenth of the steps and of the rows to learn from."""

from dataclasses import replace

from anima_exp.config import RunConfig


def scaled(config: RunConfig) -> RunConfig:
    """`config` with `scale` multiplied into what takes time, and nothing into what is compared.

    Learning rate, batch size, lengths and the number of epochs stay, and so do the rows held out:
    a scaled grid has the same cells and measures them on the same rows.
    """
    if config.scale == 1.0:
        return config

    def times(value: int | None) -> int | None:
        return None if value is None else max(1, round(value * config.scale))

    trainer = replace(
        config.trainer,
        steps=times(config.trainer.steps),
        eval_every=times(config.trainer.eval_every),
    )
    data = replace(config.data, max_train_samples=times(config.data.max_train_samples))
    return replace(config, trainer=trainer, data=data)
