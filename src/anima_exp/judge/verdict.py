"""A call and the judge's reply -> the row that keeps it, in FastChat's fields and ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anima_exp import schema_version
from anima_exp.judge.calls import Call
from anima_exp.judge.parse import parse, parsed
from anima_exp.results.short_id import short_id


@dataclass(frozen=True)
class Reply:
    """What a judge said; a server need not count tokens."""

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish: str | None = None  # "length": cut at max_tokens


_OF_THE_REPLY = ("score", "parsed", "text", "tokens_in", "tokens_out", "finish", "finished")


def verdict(call: Call, reply: Reply) -> dict[str, Any]:
    """The row of a new reply."""
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


def row(call: Call, reply: Mapping[str, Any]) -> dict[str, Any]:
    """A stored reply as the verdict on this match: names and ids may be others than they were."""
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
        schema_version.KEY: schema_version.VERDICTS,
    }
