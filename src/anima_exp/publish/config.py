"""What publishing may be told; a token is no setting."""

from dataclasses import dataclass

from anima_exp.config.setting import setting


@dataclass
class PublishConfig:
    """Every setting of `python -m anima_exp.publish`."""

    run: str | None = setting(
        None, "A finished run's folder: its adapter, or its model with lora=none."
    )
    folder: str | None = setting(None, "Or any folder with an adapter or a model.")
    push: str | None = setting(None, "user/name or organization/name on the hub.")
    base: str | None = setting(None, "Hub id written in place of a local base.")
    private: bool = setting(True, "Make the repository private.")
    message: str | None = setting(
        None, "Message of the commit; null = a line with the folder's name."
    )
    dry_run: bool = setting(True, "Show what would be uploaded, and stop.")
