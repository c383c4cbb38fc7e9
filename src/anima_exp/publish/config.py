"""What publishing may be told; a token is no setting."""

from dataclasses import dataclass


@dataclass
class PublishConfig:
    """Every setting of `python -m anima_exp.publish`."""

    run: str | None = None  # a finished run's folder: its adapter, or its model with lora=none
    folder: str | None = None  # or any folder with an adapter or a model
    push: str | None = None  # user/name or organization/name
    base: str | None = None  # hub id written in place of a local base
    private: bool = True
    message: str | None = None  # of the commit; null = a line with the folder's name
    dry_run: bool = True
