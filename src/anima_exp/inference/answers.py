"""Answer a list of questions with a model, and write the answers to a file batch by batch."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import AnsweringConfig, Precision
from anima_exp.data.prompts import Prompt, prompt, stops
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import DataError
from anima_exp.events import Answering, emit, say
from anima_exp.inference import answer_file
from anima_exp.inference.questions import Question
from anima_exp.metrics.metric import metric
from anima_exp.metrics.text_match import answers_match
from anima_exp.model.base_config import context_length
from anima_exp.model.decoding import Answer, Sampling, decode
from anima_exp.model.generation import inference_mode
from anima_exp.system import json_files
from anima_exp.system.hashing import short_id

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class GenerationRequest:
    """Who is asked, and how."""

    config: AnsweringConfig
    template: str  # a name in data/templates.py, a dotted path, or chat
    model_id: str  # what the answers are signed with
    made_by: dict[str, Any]  # settings that say which model it is
    precision: Precision

    def settings(self) -> dict[str, Any]:
        """All that an answer depends on, but for its question. Batches are no part of it."""
        config = self.config
        return {
            "prompt_template": self.template,
            "translated": config.translated,
            "max_new_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "sampling_seed": config.sampling_seed,
            "stop": list(stops(self.template, config.stop)),
            **self.made_by,
        }

    def sampling(self) -> Sampling:
        config = self.config
        return Sampling(
            config.max_new_tokens,
            config.temperature,
            config.top_p,
            stops(self.template, config.stop),
        )


@dataclass(frozen=True)
class Written:
    answers: int
    new: int  # the others were there already
    cut: int  # at max_new_tokens, or at the end of the model's context
    empty: int  # the model ended before its first word
    match: float | None  # share equal to the reference, where every question has one
    seconds: float


def write(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Question],
    asked: GenerationRequest,
    path: Path,
    world: ProcessGroup = SINGLE_PROCESS,
) -> Written:
    """Answer every question that `path` does not answer yet, of several processes each a share.

    Raises:
        DataError: a question leaves no room in the model's context.
        RunError: the file holds something else, or cannot be written.
    """
    started = time.perf_counter()
    settings, how = asked.settings(), asked.sampling()
    prompts = {question.id: ask(model, tokenizer, question, asked) for question in questions}

    def answer(batch: Sequence[Question]) -> list[answer_file.Row]:
        with inference_mode(model, asked.precision):
            found = decode(
                model,
                tokenizer,
                [prompts[question.id].ids for question in batch],
                how,
                seeds=[seed(asked.config.sampling_seed, question.id) for question in batch],
                world=world,
            )
        return [
            _row(question, answer, prompts[question.id], asked, settings)
            for question, answer in zip(batch, found, strict=True)
        ]

    with ExitStack() as stack:
        rows = world.run_on_main(lambda: _earlier(stack, path, questions, settings))
        there = len(rows)
        if there:
            say(f"{there} of {len(questions)} answers are already in {path}")
        done = {str(row["question_id"]) for row in rows}
        missing = [question for question in questions if str(question.id) not in done]
        progress = _Progress(len(questions), there)
        at_once = asked.config.batch_size * world.num_workers
        for start in range(0, len(missing), at_once):
            new = world.map_over_ranks(missing[start : start + at_once], answer)
            if world.is_main:
                answer_file.append(path, new)
            rows += new
            progress.line(len(rows), sum(row["tokens"] for row in new))
    return Written(
        answers=len(rows),
        new=len(rows) - there,
        cut=sum(row["finish"] == "length" for row in rows),
        empty=sum(not row["text"] for row in rows),
        match=_match(rows),
        seconds=time.perf_counter() - started,
    )


def _earlier(
    stack: ExitStack, path: Path, questions: Sequence[Question], settings: dict[str, Any]
) -> list[answer_file.Row]:
    stack.enter_context(answer_file.claimed(path))
    return answer_file.earlier(path, questions, settings)


def report(written: Written, path: Path, most: int) -> None:
    """One line for the file, one for what was cut or left empty, one for what was right."""
    say(f"answers  {path}: {written.answers} ({written.new} new)")
    if written.cut:
        say(
            f'         {written.cut} were truncated ("finish": "length") at max_new_tokens={most} '
            "or at the end of the model's context"
        )
    if written.empty:
        say(f"         {written.empty} are empty")
    if written.match is not None:
        share = metric("answers_match").number(written.match)
        say(f"         {share} equal the reference answer")


def ask(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    question: Question,
    asked: GenerationRequest,
) -> Prompt:
    """The question's prompt.

    Raises:
        DataError: it leaves no room in the model's context.
    """
    found, most = prompt(asked.template, tokenizer, question.text), context_length(model.config)
    if most is not None and len(found.ids) >= most:
        raise DataError(
            f"The prompt of question {question.id} has {len(found.ids)} tokens, but the context of "
            f"{model.config.name_or_path} holds {most}, the answer included. "
            "Remove or shorten the question."
        )
    return found


def seed(sampling_seed: int, name: int | str) -> int:
    """Dice of its own for each question, so that neither order nor batch changes an answer."""
    return int.from_bytes(hashlib.sha256(f"{sampling_seed} {name}".encode()).digest()[:8], "big")


def _row(
    question: Question,
    answer: Answer,
    prompt: Prompt,
    asked: GenerationRequest,
    settings: dict[str, Any],
) -> answer_file.Row:
    text = answer.text.strip()
    row = {
        # Not of the text alone, as QLoRA's: two questions may have the answer "12".
        "answer_id": short_id(f"{asked.model_id} {question.id} {text}"),
        "question_id": question.id,
        "model_id": asked.model_id,
        "text": text,
        "question": question.text,
        "category": question.category,
        "prompt": prompt.text,
        "finish": answer.finish,
        "tokens": answer.tokens,
        "settings": answer_file.digest(settings),
        "metadata": settings,
        json_files.KEY: json_files.ANSWERS,
    }
    if question.reference is not None:
        row["reference"] = question.reference
    return row


def _match(rows: Sequence[answer_file.Row]) -> float | None:
    if not rows or any("reference" not in row for row in rows):
        return None
    return sum(answers_match(row["text"], row["reference"]) for row in rows) / len(rows)


class _Progress:
    """One line of answers, speed and time left, every few seconds and at the end."""

    every = 5.0  # seconds

    def __init__(self, total: int, there: int) -> None:
        self.total, self.there = total, there
        self.started = self.told = time.monotonic()
        self.tokens = 0

    def line(self, done: int, tokens: int) -> None:
        self.tokens += tokens
        now = time.monotonic()
        if now - self.told < self.every and done < self.total:
            return
        self.told, taken = now, max(now - self.started, 1e-9)
        left = taken / (done - self.there) * (self.total - done)
        emit(Answering(done, self.total, self.tokens / taken, left))
