"""A folder with an adapter or a model -> the hub, after every check; or what would be sent."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from anima_exp.card.of_run import of_folder
from anima_exp.errors import ConfigError
from anima_exp.finished import record
from anima_exp.paths import expanded
from anima_exp.publish import clean, hub, screen
from anima_exp.publish.config import PublishConfig
from anima_exp.publish.files import read, with_card


def of_config(config: PublishConfig) -> None:
    """Raises ConfigError, RunError: as `publish`, or the settings contradict each other."""
    if bool(config.run) == bool(config.folder):
        raise ConfigError("Give run=FOLDER, a finished run's, or folder=FOLDER; one of the two.")
    if not config.push:
        raise ConfigError("push=null: where to? Give push=user/name.")
    folder, card = expanded(config.folder or "", "folder"), None
    if config.run:
        folder, card = _of_run(expanded(config.run, "run"))
    publish(
        folder,
        config.push,
        card=card,
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
    card: Callable[[], str] | None = None,
    dry_run: bool = False,
) -> None:
    """Send all files of `folder` to the hub's repository `push`, in one commit.

    Args:
        base: hub id to write into the adapter's copy and its card, in place of a local base.
        card: writes one for a folder that has none, or PEFT's empty form.

    Raises:
        ConfigError: a file is missing, damaged, or not for others to read; or there is no token.
        RunError: the hub refuses, or cannot be reached.
    """
    clean.check_hub_id(push, key="push")
    there = read(folder)
    carded = with_card(there, card)
    files = clean.clean(carded, push=push, base=base)
    head = clean.head(files)
    screen.show(files, folder, push, private=private, head=head)
    if carded != there:
        screen.say(
            "README.md is written anew, from the run's record: the folder holds none of ours."
        )
    if dry_run:
        screen.say("Nothing was sent. The same command with dry_run=false sends it.")
        return
    sent = hub.send(
        files, push, private=private, message=message or f"{folder.name} made by anima-exp"
    )
    screen.show_sent(sent)


def _of_run(run: Path) -> tuple[Path, Callable[[], str]]:
    """The folder of what it trained, and how to write a card of it."""
    whole = record(run).settings["lora.target_modules"] == "none"
    trained = run / ("model" if whole else "adapter")
    return trained, partial(of_folder, run, trained)
