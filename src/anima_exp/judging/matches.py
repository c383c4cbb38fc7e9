"""Make the matches of models: every pair, every common question, both orders."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from anima_exp.config.lookup import closest
from anima_exp.data.file_rows import FileRow, read
from anima_exp.errors import ConfigError, DataError
from anima_exp.inference import conversations
from anima_exp.inference.questions import answer_field, answer_text, first_turn, first_turn_warning
from anima_exp.system import json_files
from anima_exp.system.hashing import short_id
from anima_exp.system.terminal import print_stderr

# Files of answers. A row has FastChat's form (question_id, text or choices, model_id, answer_id),
# QLoRA's (question_id, text = the question, generation or generation_truncated), or anima-exp's:
# FastChat's form with question, category and reference.


@dataclass(frozen=True)
class Answer:
    """An answer of `model`, with the question's fields if its row has them."""

    model: str
    question_id: int | str
    answer_id: str
    text: str
    question: str | None
    category: str | None
    reference: str | None
    where: str


Player = dict[str, Answer]  # question -> answer; questions 1 and "1" are the same


def read_answers(paths: list[str]) -> dict[str, Player]:
    """Return the answers of each model, in the order of the files.

    Raises:
        DataError: if a file or row cannot be read, a model has two answers to a question, or there
            are fewer than two models.
    """
    players: dict[str, Player] = {}
    for path, name in zip(paths, _names(paths), strict=True):
        turns = 0
        for row in read(path, key="answers"):
            values, more = first_turn(row.values)
            turns, row = turns + more, FileRow(row.where, values)
            answer = _answer(row, name)
            own = players.setdefault(answer.model, {})
            if before := own.get(str(answer.question_id)):
                raise DataError(
                    f"{row.where}: this is a second answer by model '{answer.model}' to question "
                    f"{answer.question_id}; the first is in {before.where}. Remove one, or give "
                    "them different values of model_id."
                )
            own[str(answer.question_id)] = answer
        if turns:
            print_stderr(first_turn_warning(turns, f"answers={path}"))
    if len(players) < 2:
        raise DataError(
            f"answers={','.join(paths)} are all by one model, '{next(iter(players))}', but a pair "
            "needs two. Add a file, or a model_id in each row."
        )
    return players


def _names(paths: list[str]) -> list[str]:
    """Return names for models whose rows have none: the file's, or folder and file."""
    stems = Counter(Path(path).stem for path in paths)
    return [
        stem
        if stems[stem := Path(path).stem] == 1
        else f"{Path(path).absolute().parent.name}-{stem}"
        for path in paths
    ]


def _answer(row: FileRow, name: str) -> Answer:
    json_files.refuse_newer(row.values, row.where, json_files.ANSWERS)
    field = answer_field(row.values)
    text = answer_text(field, row.text(field))
    question = row.optional("question")
    if json_files.KEY in row.values:  # others may have a column of this name with another content
        question = _conversation(row) or question
    if field != "text" and question is None:
        question = row.optional("text")
    return Answer(
        model=row.name("model_id") or row.name("model") or name,
        question_id=row.identifier("question_id"),
        answer_id=row.optional("answer_id") or short_id(text),
        text=text,
        question=question,
        category=row.optional("category"),
        reference=row.optional("reference"),
        where=row.where,
    )


def _conversation(row: FileRow) -> str | None:
    """Return the conversation that a row's answer continues, as text; None if it has none."""
    try:
        conversation = conversations.of_row(row.values)
    except DataError as error:
        raise DataError(f"{row.where}: {error}.") from error
    return None if conversation is None else conversations.as_text(conversation)


# The text, category and reference of questions, from a question file or the rows of answers.


@dataclass(frozen=True)
class Question:
    question_id: int | str
    text: str
    category: str | None
    reference: str | None


def read_questions(path: str) -> dict[str, Question]:
    """Read a question file; return the questions by id.

    Raises:
        DataError: if the file or a row cannot be read, or an id occurs twice.
    """
    found: dict[str, Question] = {}
    turns = 0
    for number, row in enumerate(read(path, key="questions"), start=1):
        values, more = first_turn(row.values)
        turns, row = turns + more, FileRow(row.where, values)
        text = _conversation(row)
        own_id = text is None or values.get("question_id") is not None
        question = Question(
            question_id=row.identifier("question_id") if own_id else number,
            text=row.text("text") if text is None else text,
            category=row.optional("category"),
            reference=row.optional("reference"),
        )
        if str(question.question_id) in found:
            raise DataError(
                f"{row.where}: question_id {question.question_id} occurs twice. Remove one row."
            )
        found[str(question.question_id)] = question
    if turns:
        print_stderr(first_turn_warning(turns, f"questions={path}"))
    return found


def of_answers(answers: Iterable[Answer], known: Question | None) -> Question:
    """Return the question of these answers.

    Raises:
        DataError: if its text is unknown, or two rows disagree about its text or reference.
    """
    answers = list(answers)
    return Question(
        question_id=(known or answers[0]).question_id,
        text=known.text if known else _agreed(answers, "question"),
        category=(known and known.category)
        or next((a.category for a in answers if a.category), None),
        reference=(known and known.reference) or (_agreed(answers, "reference") or None),
    )


def _agreed(answers: list[Answer], field: str) -> str:
    given = [answer for answer in answers if getattr(answer, field) is not None]
    if not given and field == "question":
        raise DataError(
            f"{answers[0].where}: the text of question {answers[0].question_id} is missing. "
            "Give questions=FILE, or rows with a field 'question'."
        )
    for other in given[1:]:
        if getattr(other, field) != getattr(given[0], field):
            raise DataError(
                f"{other.where}: the {field} of question_id {other.question_id} differs from the "
                f"one in {given[0].where}. Answers to different questions cannot be compared."
            )
    return str(getattr(given[0], field)) if given else ""


@dataclass(frozen=True)
class Match:
    """A question with two answers. `first` is shown as answer 1."""

    question: Question
    first: Answer
    second: Answer


@dataclass(frozen=True)
class Pair:
    """Two models, and their matches in both orders."""

    models: tuple[str, str]
    matches: list[Match]
    not_common: int  # questions that only one of the models answered
    unknown: int  # questions that are not in the question file
    over_limit: int  # questions beyond max_questions


def pairs(
    players: dict[str, Player],
    *,
    questions: dict[str, Question] | None,
    reference_player: str | None,
    max_questions: int | None,
) -> list[Pair]:
    """Return every pair, or each model against `reference_player`.

    Raises:
        ConfigError: if the reference player is unknown.
        DataError: if a pair has no common question, or a question's text is unknown.
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
    raise ConfigError(f"reference_player={wanted} is not one of the models. {hint}")


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
    chosen_keys = known[:max_questions]
    matches = []
    for key in chosen_keys:
        question = of_answers((mine[key], other[key]), questions[key] if questions else None)
        matches.append(Match(question, mine[key], other[key]))
        matches.append(Match(question, other[key], mine[key]))
    return Pair(
        models=(a, b),
        matches=matches,
        not_common=len(mine) + len(other) - 2 * len(common),
        unknown=len(common) - len(known),
        over_limit=len(known) - len(chosen_keys),
    )


def _where(player: Player) -> str:
    return next(iter(player.values())).where.rpartition(", ")[0]


def _some(player: Player) -> str:
    keys = list(player)
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
