"""Nothing is spent before somebody has agreed: a limit, yes=true, or an answer in the terminal."""

import sys

from anima_exp.errors import ConfigError
from anima_exp.judge.config import JudgeConfig
from anima_exp.judge.estimate import Estimate
from anima_exp.terminal import write


def confirm(estimate: Estimate, config: JudgeConfig) -> None:
    """Return if the calls may be made.

    Raises:
        ConfigError: they may not. A limit (max_calls, max_cost) holds against yes=true as well.
    """
    cost = estimate.cost(config)
    over = []
    if config.max_calls is not None and estimate.calls > config.max_calls:
        over.append(f"{estimate.calls:,} calls are more than max_calls={config.max_calls}")
    if config.max_cost is not None and cost is not None and cost > config.max_cost:
        over.append(f"a cost of up to {cost:,.2f} is more than max_cost={config.max_cost:g}")
    limited = config.max_calls is not None or config.max_cost is not None
    if over and (config.yes or not _in_a_terminal()):
        raise ConfigError(f"Nothing was asked: {' and '.join(over)}. Raise the limit.")
    if not over and (config.yes or limited):
        return
    if not _in_a_terminal():
        raise ConfigError(
            f"Nothing was asked: {estimate.calls:,} calls need a confirmation. Add "
            f"max_calls={estimate.calls} to allow so many, or yes=true."
        )
    if over:
        write(f"{' and '.join(over)}.\n")
    if not _agreed():
        raise ConfigError("Nothing was asked.")


def _in_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _agreed() -> bool:
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
