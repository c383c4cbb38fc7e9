"""The judge without a model: an answer is right when it equals the reference, else wrong."""

import hashlib
from dataclasses import dataclass

from anima_exp.errors import DataError
from anima_exp.judge.calls import Call, key
from anima_exp.judge.config import Kind
from anima_exp.judge.matches import Match
from anima_exp.judge.prompts import Message
from anima_exp.judge.verdict import Reply
from anima_exp.same import same

NAME = "reference"
_RULE = "equal to the reference but for white space and one final full stop"


@dataclass(frozen=True)
class _Rule:
    """What stands in a prompt's place: nobody is asked."""

    number: int = 0
    category: str = NAME
    temperature: None = None
    max_tokens: None = None
    sha256: str = hashlib.sha256(_RULE.encode()).hexdigest()

    def messages(self, question: str, first: str, second: str) -> list[Message]:
        return []


def call(match: Match, kind: Kind) -> Call:
    """Raises DataError: no row has the reference answer."""
    if match.question.reference is None:
        raise DataError(
            f"{match.first.where}: question {match.question.question_id} has no field 'reference', "
            "which judge=reference compares with. Add it to the rows or to questions=FILE."
        )
    content = [NAME, _RULE, kind, match.question.reference, match.first.text, match.second.text]
    return Call(match, _Rule(), kind, NAME, None, 0, key=key(content))


def reply(call: Call) -> Reply:
    """In the form that a judge model is asked for, so that the same rule reads it."""
    reference = str(call.match.question.reference)
    right = [same(answer.text, reference) for answer in (call.match.first, call.match.second)]
    told = f"Answer 1 is {_word(right[0])}, answer 2 is {_word(right[1])}: {_RULE}."
    if call.kind is Kind.relative:
        return Reply(f"{10 if right[0] else 1} {10 if right[1] else 1}\n{told}")
    return Reply(f"{told}\n{3 if right[0] == right[1] else 1 if right[0] else 2}")


def _word(right: bool) -> str:
    return "right" if right else "wrong"
