"""Make verdicts on players from rows, all about the same questions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anima_exp.errors import DataError
from anima_exp.tournament.fields import needed, text_of
from anima_exp.tournament.players import Answer, identify
from anima_exp.tournament.reading import Row, lines


@dataclass(frozen=True)
class Verdict:
    """The judge's verdict on two answers to one question."""

    question: str
    turn: int
    category: str | None
    first: str  # the player whose answer was shown first
    second: str
    scores: tuple[float, float] | None  # of first and second, in a parsed relative verdict
    outcome: float | None  # 1: first wins, 0.5: a tie, 0: second wins; None: not parsed
    relative: bool
    lengths: tuple[int, int] | None  # characters of the two answers


def verdicts(
    rows: Sequence[Row],
    *,
    answers: Mapping[str, Answer],
    questions: Path | None = None,
    on_missing: str = "error",
    trust_names: bool = False,
) -> tuple[list[Verdict], list[str]]:
    """Return the verdicts in the order of `rows`, and notes for the reader.

    Args:
        questions: FastChat's file of questions, where rows do not say their category.
        on_missing: what to do with questions that not every pair has: error, intersect (leave
            them out) or keep (a tournament of random pairs has few in common).

    Raises:
        DataError: if players cannot be identified, or the files have different questions.
    """
    players, notes = identify(rows, answers, trust_names=trust_names)
    _reject_duplicates(rows, players)
    kept = _same_questions(rows, players, on_missing=on_missing)
    if len(kept) < len(rows):
        notes.append(
            f"{len(rows) - len(kept):,} verdicts are left out, because not every pair has their "
            "questions."
        )
    categories = _categories(questions) if questions else {}
    judges = Counter(row.judge for row in rows if row.judge)
    if len(judges) > 1:
        notes.append(f"The verdicts are by {len(judges)} judges: {', '.join(sorted(judges))}.")
    result = [
        Verdict(
            question=rows[at].question,
            turn=rows[at].turn,
            category=rows[at].category or categories.get(rows[at].question),
            first=players[at][0],
            second=players[at][1],
            scores=rows[at].scores,
            outcome=rows[at].outcome,
            relative=rows[at].relative,
            lengths=rows[at].lengths or _lengths(rows[at], answers),
        )
        for at in kept
    ]
    return result, [*notes, *_unused(result, kept, rows, answers, categories)]


def _unused(
    result: Sequence[Verdict],
    kept: Sequence[int],
    rows: Sequence[Row],
    answers: Mapping[str, Answer],
    categories: Mapping[str, str],
) -> Iterator[str]:
    """Yield notes on answers and categories that fit no verdicts, or only some."""
    judged = {name for at in kept for name in rows[at].ids or ()}
    if answers and not judged & answers.keys():
        yield f"None of the {len(answers):,} answers given with answers= occurs in the verdicts."
    without = sum(one.category is None for one in result)
    if without and (categories or without < len(result)):
        yield f"{without:,} verdicts are on questions without a category."


def _reject_duplicates(rows: Sequence[Row], players: Sequence[tuple[str, str]]) -> None:
    seen: dict[tuple[object, ...], Row] = {}
    for row, pair in zip(rows, players, strict=True):
        earlier = seen.setdefault((pair, row.question, row.turn, row.judge, row.relative), row)
        if earlier is not row:
            raise DataError(
                f"{row.file}, row {row.line}: {pair[0]} shown before {pair[1]} on question "
                f"{row.question} has a verdict already, in {earlier.file}, row {earlier.line}. "
                "Delete one of them."
            )


def _same_questions(
    rows: Sequence[Row], players: Sequence[tuple[str, str]], *, on_missing: str
) -> list[int]:
    """Return the indices of the rows to keep."""
    if on_missing == "keep" or all(row.battle for row in rows):
        return list(range(len(rows)))
    asked: dict[tuple[object, ...], dict[tuple[str, int], Row]] = {}
    for row, pair in zip(rows, players, strict=True):
        asked.setdefault((pair, row.relative), {})[row.question, row.turn] = row
    every = [set(result) for result in asked.values()]
    shared = set.intersection(*every)
    if on_missing == "error" and any(one != shared for one in every):
        most = max(asked.values(), key=len)
        least = next(result for result in asked.values() if set(result) != set(most))
        question = next(iter(sorted(set(most) ^ set(least))))
        has, lacks = (most, least) if question in most else (least, most)
        other = next(iter(lacks.values()))
        raise DataError(
            f"{has[question].file}, row {has[question].line}: question {question[0]} is not in "
            f"{other.file}. Scores need the same questions for all: judge the rest, or give "
            f"on_missing_questions=intersect (the {len(shared)} that every pair has) or keep."
        )
    if not shared:
        raise DataError("There is no question that every pair has. Give on_missing_questions=keep.")
    return [at for at, row in enumerate(rows) if (row.question, row.turn) in shared]


def _categories(path: Path) -> dict[str, str]:
    result = {}
    for number, fields in lines(path):
        at = f"{path}, row {number}"
        if category := text_of(fields, "category", at):
            result[needed(fields, "question_id", at)] = category
    return result


def _lengths(row: Row, answers: Mapping[str, Answer]) -> tuple[int, int] | None:
    if row.ids is None or row.ids[0] not in answers or row.ids[1] not in answers:
        return None
    return answers[row.ids[0]].length, answers[row.ids[1]].length
