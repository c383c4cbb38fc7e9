"""Show judging in the terminal: the planned calls, the progress, the results."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich import progress
from rich.table import Table
from rich.text import Text

from anima_exp.cli import program
from anima_exp.config.commands import Judge, JudgeConfig
from anima_exp.display.console import duration
from anima_exp.errors import ConfigError
from anima_exp.judging.calls import HOW, Estimate, PairPlan, Plan, estimate
from anima_exp.system.terminal import printable, write

_MOST_PAIRS = 40  # rows of a table
_LINES = 20  # of progress, without a terminal

console = program.console()


def say(text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=True)


def show_plan(plan: Plan, config: JudgeConfig, *, address: str | None) -> None:
    """Print calls, tokens and cost by pair and in total, and everything that is left out."""
    whole = estimate(plan.to_ask)
    table = _table("pair", "questions", "matches", "stored", "to ask", "tokens in", "tokens out")
    for pair in plan.pairs[:_MOST_PAIRS]:
        part = estimate(pair.to_ask)
        questions, stored = len(pair.calls) // 2, len(pair.calls) - part.calls
        numbers = (questions, len(pair.calls), stored, part.calls, part.tokens_in)
        table.add_row(_name(pair), *map(_count, numbers), f"<= {_count(part.most_tokens_out)}")
    if len(plan.pairs) > 1:
        matches = len(plan.calls)
        numbers = (matches // 2, matches, matches - whole.calls, whole.calls, whole.tokens_in)
        every = f"all {len(plan.pairs)} pairs"
        table.add_row(every, *map(_count, numbers), f"<= {_count(whole.most_tokens_out)}")
    console.print(table)
    _beyond(plan)
    show_left_out(plan)
    if config.judge is Judge.openai and whole.calls:
        server = address or "OpenAI"
        most = whole.calls * (config.retries + 1)
        who = f"{config.judge_model} at {server}"
        say(f"\n{whole.calls:,} calls of {who}; with retries at most {most:,}.")
        say(
            f"Input tokens are estimated: {HOW}. Output: at most {config.max_tokens:,} tokens per "
            "call."
        )
        cost = whole.cost(config)
        say(
            "Cost: unknown. Give price_per_million_input_tokens and ..._output_tokens."
            if cost is None
            else f"Cost: at most about {cost:,.2f}, in the currency of the prices."
        )


def show_left_out(plan: Plan) -> None:
    """Print what is left out: questions, matches that share a verdict, unparsed verdicts."""
    for pair in plan.pairs:
        counts = {
            "only one model answered": pair.pair.not_common,
            "are not in the question file": pair.pair.unknown,
            "are beyond max_questions": pair.pair.over_limit,
        }
        if text := ", ".join(f"{count:,} that {why}" for why, count in counts.items() if count):
            say(f"{' / '.join(pair.pair.models)}: questions left out: {text}.")
    if plan.shared:
        say(f"{plan.shared:,} matches have the same texts as another match, and take its verdict.")
    if plan.unparsed:
        say(
            f"{plan.unparsed:,} stored verdicts are unparsed. Give retry_unparsed=true to request "
            "them again."
        )


def _beyond(plan: Plan) -> None:
    if (more := len(plan.pairs) - _MOST_PAIRS) > 0:
        say(f"... and {more} more pairs, counted in the last row.")


def show_results(plan: Plan, stored: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the results by pair, over both orders."""
    table = _table("pair (A / B)", "verdicts", "A better", "B better", "tie", "unparsed", "missing")
    for pair in plan.pairs[:_MOST_PAIRS]:
        found = [0, 0, 0, 0, 0]  # A, B, tie, unparsed, missing
        for call in pair.calls:
            verdict = stored.get(call.key)
            if verdict is None:
                found[4] += 1
            elif not verdict["parsed"]:
                found[3] += 1
            else:
                best = _best(verdict["score"])  # 0 = first shown, 1 = second, 2 = tie
                swapped = call.match.first.model != pair.pair.models[0]
                found[1 - best if swapped and best < 2 else best] += 1
        table.add_row(_name(pair), *map(_count, (len(pair.calls) - found[4], *found)))
    console.print(table)
    _beyond(plan)


def _best(score: Any) -> int:
    if isinstance(score, list):
        return 2 if score[0] == score[1] else int(score[1] > score[0])
    return int(score) - 1


class Progress:
    """Show the verdicts so far: a bar in a terminal, about twenty lines elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.unparsed, self.failed = total, 0, 0, 0
        self._started = time.monotonic()
        self._bar = progress.Progress(
            progress.BarColumn(24),
            progress.TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)
        if console.is_terminal:
            self._bar.start()

    def step(self, *, unparsed: bool = False, failed: bool = False, retried: int = 0) -> None:
        """Count a finished call. `retried` is the number of retries of all calls so far."""
        self.done += 1
        self.unparsed += unparsed
        self.failed += failed
        seconds = time.monotonic() - self._started
        left = seconds / self.done * (self.total - self.done)
        counts = {"unparsed": self.unparsed, "failed": self.failed, "retries": retried}
        more = "".join(f"  {count:,} {what}" for what, count in counts.items() if count)
        text = f"{self.done:,}/{self.total:,} calls{more}  {duration(left)} left"
        every = -(-self.total // _LINES)
        if console.is_terminal:
            self._bar.update(self._task, completed=self.done, description=text)
        elif self.done % every == 0 or self.done == self.total:
            say(text)

    def close(self) -> None:
        if console.is_terminal:
            self._bar.stop()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="left" if column.startswith("pair") else "right")
    return table


def _name(pair: PairPlan) -> Text:
    return Text(printable(" / ".join(pair.pair.models)))


def _count(number: int) -> str:
    return f"{number:,}"


def confirm(estimate: Estimate, config: JudgeConfig) -> None:
    """Return if the user allows the calls: by a limit, by yes=true, or in the terminal.

    Raises:
        ConfigError: if not. A limit (max_calls, max_cost) also applies with yes=true.
    """
    cost = estimate.cost(config)
    over = []
    if config.max_calls is not None and estimate.calls > config.max_calls:
        over.append(f"{estimate.calls:,} calls are more than max_calls={config.max_calls}")
    if config.max_cost is not None and cost is not None and cost > config.max_cost:
        over.append(f"a cost of up to {cost:,.2f} is more than max_cost={config.max_cost:g}")
    limited = config.max_calls is not None or config.max_cost is not None
    if over and (config.yes or not _in_a_terminal()):
        raise ConfigError(f"No call was made, because {' and '.join(over)}. Raise the limit.")
    if not over and (config.yes or limited):
        return
    if not _in_a_terminal():
        raise ConfigError(
            f"No call was made, because {estimate.calls:,} calls need a confirmation. Add "
            f"max_calls={estimate.calls} to allow them, or yes=true."
        )
    if over:
        write(f"{' and '.join(over)}.\n")
    if not _agreed():
        raise ConfigError("No call was made, because the calls were not confirmed.")


def _in_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _agreed() -> bool:
    try:
        return input("Make these calls? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
