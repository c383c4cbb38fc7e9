"""Models and their answers -> the matches: every pair, every common question, both orders."""

from dataclasses import dataclass
from itertools import combinations

from anima_exp.errors import ConfigError, DataError
from anima_exp.judge.answers import Answer, Player
from anima_exp.judge.questions import Question, of_answers
from anima_exp.lookup import closest


@dataclass(frozen=True)
class Match:
    """`first` is shown as answer 1."""

    question: Question
    first: Answer
    second: Answer


@dataclass(frozen=True)
class Pair:
    """Two models, and their matches in both orders."""

    models: tuple[str, str]
    matches: list[Match]
    not_common: int  # questions that only one of the two answers
    unknown: int  # questions that the question file does not have
    over_limit: int  # questions beyond max_questions


def pairs(
    players: dict[str, Player],
    *,
    questions: dict[str, Question] | None,
    reference_player: str | None,
    max_questions: int | None,
) -> list[Pair]:
    """Every pair, or each model against `reference_player`.

    Raises:
        ConfigError: there is no such reference player.
        DataError: a pair has no common question, or a question's text is unknown.
    """
    names = list(players)
    if reference_player is None:
        chosen = list(combinations(names, 2))
    else:
        against = _find(reference_player, names)
        chosen = [(name, against) for name in names if name != against]
    return [_pair(players, a, b, questions, max_questions) for a, b in chosen]


def _find(wanted: str, names: list[str]) -> str:
    if wanted in names:
        return wanted
    if wanted == "first":
        return names[0]
    close = closest(wanted, names)
    hint = f"Did you mean '{close}'?" if close else f"There are: first, {', '.join(names)}."
    raise ConfigError(f"reference_player={wanted} is none of the models. {hint}")


def _pair(
    players: dict[str, Player],
    a: str,
    b: str,
    questions: dict[str, Question] | None,
    max_questions: int | None,
) -> Pair:
    mine, other = players[a], players[b]
    common = [key for key in mine if key in other]
    known = [key for key in common if questions is None or key in questions]
    if not known:
        which = " that the question file has" if common else ""
        raise DataError(
            f"Models '{a}' ({_where(mine)}) and '{b}' ({_where(other)}) have no question in common"
            f"{which}: their question_id are {_some(mine)} and {_some(other)}."
        )
    asked = known[:max_questions]
    matches = []
    for key in asked:
        question = of_answers((mine[key], other[key]), questions[key] if questions else None)
        matches.append(Match(question, mine[key], other[key]))
        matches.append(Match(question, other[key], mine[key]))
    return Pair(
        models=(a, b),
        matches=matches,
        not_common=len(mine) + len(other) - 2 * len(common),
        unknown=len(common) - len(known),
        over_limit=len(known) - len(asked),
    )


def _where(player: Player) -> str:
    return next(iter(player.values())).where.rpartition(", ")[0]


def _some(player: Player) -> str:
    keys = list(player)
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
