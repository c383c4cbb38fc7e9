"""Parse the reply of a judge, and make the row that stores it (FastChat's fields and more)."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anima_exp.config.commands import Kind
from anima_exp.errors import DataError
from anima_exp.judging.calls import JudgeRequest, key
from anima_exp.judging.matches import Match
from anima_exp.judging.prompts import Message
from anima_exp.metrics.text_match import answers_match
from anima_exp.system import json_files
from anima_exp.system.hashing import short_id

# The rules are those of QLoRA's eval_gpt_review.py. A reply that they cannot parse is stored as
# unparsed: a rule that guesses would turn a judge's reasoning into scores that it did not give.


Score = list[float] | int

UNPARSED: dict[Kind, Score] = {Kind.relative: [-1, -1], Kind.threeclass: -1}


def parse(text: str, kind: Kind) -> Score:
    """Return the score of a reply, or UNPARSED[kind]."""
    return _relative(text) if kind is Kind.relative else _threeclass(text)


def parsed(score: Score) -> bool:
    return score not in ([-1, -1], -1)


def _relative(text: str) -> Score:
    """Parse a first line of exactly two numbers; a comma counts as a space."""
    words = text.split("\n")[0].replace(",", " ").split(" ")
    try:
        scores = [float(word) for word in words]
    except ValueError:
        return [-1, -1]
    # float() also accepts nan, inf and the -1 of an unparsed verdict, which are no scores.
    whole = len(scores) == 2 and all(math.isfinite(score) and score >= 0 for score in scores)
    return scores if whole else [-1, -1]


def _threeclass(text: str) -> Score:
    """Parse a last non-empty line of 1, 2, or 3 for a tie."""
    try:
        choice = int(text.strip().split("\n")[-1].strip())
    except ValueError:
        return -1
    return choice if choice in (1, 2, 3) else -1


@dataclass(frozen=True)
class Reply:
    """A judge's reply. Not every server counts tokens."""

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish: str | None = None  # "length": truncated at max_tokens


_OF_THE_REPLY = ("score", "parsed", "text", "tokens_in", "tokens_out", "finish", "finished")


def verdict(call: JudgeRequest, reply: Reply) -> dict[str, Any]:
    """Return the row of a new reply."""
    score = parse(reply.text, call.kind)
    return row(
        call,
        {
            "score": score,
            "parsed": parsed(score),
            "text": reply.text,
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
            "finish": reply.finish,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def row(call: JudgeRequest, reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored reply as the verdict on this match, with its current names and ids."""
    first, second = call.match.first, call.match.second
    match_id = f"{call.key} {call.match.question.question_id} {first.model} {second.model}"
    return {
        "key": call.key,
        "review_id": short_id(match_id),
        "question_id": call.match.question.question_id,
        "category": call.match.question.category,
        "answer1_id": first.answer_id,
        "answer2_id": second.answer_id,
        "model1": first.model,
        "model2": second.model,
        "reviewer_id": call.prompt.number,
        "metadata": {"temperature": call.temperature, "max_tokens": call.max_tokens},
        "kind": call.kind.value,
        "judge": call.judge,
        "prompt_sha256": call.prompt.sha256,
        "length1": len(first.text),
        "length2": len(second.text),
        **{name: reply.get(name) for name in _OF_THE_REPLY},
        json_files.KEY: json_files.VERDICTS,
    }


# The judge without a model: an answer is right if it equals the reference, otherwise wrong.


NAME = "reference"
_RULE = "equal to the reference but for white space and one final full stop"


@dataclass(frozen=True)
class _Rule:
    """A placeholder for the prompt, because no model is called."""

    number: int = 0
    category: str = NAME
    temperature: None = None
    max_tokens: None = None
    sha256: str = hashlib.sha256(_RULE.encode()).hexdigest()

    def messages(self, question: str, first: str, second: str) -> list[Message]:
        return []


def call(match: Match, kind: Kind) -> JudgeRequest:
    """Return the request for a match. Raise DataError if no row has the reference answer."""
    if match.question.reference is None:
        raise DataError(
            f"{match.first.where}: question {match.question.question_id} has no field 'reference', "
            "but judge=reference compares answers with it. Add it to the rows or to "
            "questions=FILE."
        )
    content = [NAME, _RULE, kind, match.question.reference, match.first.text, match.second.text]
    return JudgeRequest(match, _Rule(), kind, NAME, None, 0, key=key(content))


def reply(call: JudgeRequest) -> Reply:
    """Return the verdict in the form of a judge model's reply, so that the same rules parse it."""
    reference = str(call.match.question.reference)
    right = [
        answers_match(answer.text, reference) for answer in (call.match.first, call.match.second)
    ]
    text = f"Answer 1 is {_word(right[0])}, answer 2 is {_word(right[1])}: {_RULE}."
    if call.kind is Kind.relative:
        return Reply(f"{10 if right[0] else 1} {10 if right[1] else 1}\n{text}")
    return Reply(f"{text}\n{3 if right[0] == right[1] else 1 if right[0] else 2}")


def _word(right: bool) -> str:
    return "right" if right else "wrong"
