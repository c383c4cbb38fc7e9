"""A folder with an adapter or a model -> the hub, after every check; or what would be sent."""

from pathlib import Path

from anima_exp.errors import ConfigError
from anima_exp.finished import record
from anima_exp.publish import clean, hub, screen
from anima_exp.publish.config import PublishConfig
from anima_exp.publish.files import read


def of_config(config: PublishConfig) -> None:
    """Raises ConfigError, RunError: as `publish`, or the settings contradict each other."""
    if bool(config.run) == bool(config.folder):
        raise ConfigError("Give run=FOLDER, a finished run's, or folder=FOLDER; one of the two.")
    if not config.push:
        raise ConfigError("push=null: where to? Give push=user/name.")
    folder = _of_run(Path(config.run).expanduser()) if config.run else Path(config.folder or "")
    publish(
        folder.expanduser(),
        config.push,
        base=config.base,
        private=config.private,
        message=config.message,
        dry_run=config.dry_run,
    )


def publish(
    folder: Path,
    push: str,
    *,
    base: str | None = None,
    private: bool = True,
    message: str | None = None,
    dry_run: bool = False,
) -> None:
    """Send all files of `folder` to the hub's repository `push`, in one commit.

    Args:
        base: hub id to write into the adapter's copy and its card, in place of a local base.

    Raises:
        ConfigError: a file is missing, damaged, or not for others to read; or there is no token.
        RunError: the hub refuses, or cannot be reached.
    """
    clean.check_hub_id(push, key="push")
    files = clean.clean(read(folder), push=push, base=base)
    head = clean.head(files)
    screen.show(files, folder, push, private=private, head=head)
    if dry_run:
        screen.say("Nothing was sent. The same command with dry_run=false sends it.")
        return
    sent = hub.send(
        files, push, private=private, message=message or f"{folder.name} made by anima-exp"
    )
    screen.show_sent(sent)


def _of_run(run: Path) -> Path:
    whole = record(run).settings["lora.target_modules"] == "none"
    return run / ("model" if whole else "adapter")
