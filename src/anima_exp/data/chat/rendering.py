"""Render the conversations of a batch: for each trained message, the prompt and the whole text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.templates import ChatTemplate, render
from anima_exp.data.chat.tokens import ChatEncoder, Text
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_MAX_OPENINGS = 1_000


@dataclass
class Job:
    """A conversation on its way to rows."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    answers: list[tuple[int, Mapping[str, Any]]]  # a message, and the template's variables for it
    hidden: bool = False  # a text spells a control token
    texts: list[tuple[str, str]] = field(default_factory=list)  # prompt, and prompt with answer


@dataclass
class Turn:
    """An assistant message to train on: its texts, and then its ids."""

    message: int
    prompt: Text  # what the model is given
    full: Text  # the same, with the message
    ids: list[int] = field(default_factory=list)
    start: int = 0  # the trained ids are ids[start:end]
    end: int = 0
    lacks_thinking: bool = False  # the message has thinking, which the answer does not show
    whole: bool = True  # `ids` are the ids of the whole text, not of two parts

    @property
    def answer(self) -> str:
        """The text after the prompt."""
        return self.full.text[len(self.prompt.text) :]


def job(
    conversation: Conversation,
    answers: list[tuple[int, Mapping[str, Any]]],
    encoder: ChatEncoder,
) -> Job:
    """Return the conversation as templates take it, with control tokens in its texts hidden."""
    messages, tools = conversation.as_dicts(), list(conversation.tools)
    if not encoder.spelled([messages, tools]):
        return Job(messages, tools, answers)
    return Job(encoder.hide_all(messages), encoder.hide_all(tools), answers, hidden=True)


def render_jobs(
    jobs: Mapping[int, Job],
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompts: bool = True,
) -> dict[int, DataError]:
    """Fill in the texts of all jobs, in as few calls as their tools and variables allow.

    Args:
        prompts: render them too; otherwise the first text of each pair is the second one.

    Returns:
        the errors of the jobs that have no texts, because the template does not accept them.
    """
    failed: dict[int, DataError] = {}
    groups: dict[str, list[tuple[int, int]]] = {}
    for number, each in jobs.items():
        each.texts = [("", "")] * len(each.answers)
        for which, (_, variables) in enumerate(each.answers):
            key = f"{number if each.tools else ''} {sorted(variables.items())}"
            groups.setdefault(key, []).append((number, which))
    for group in groups.values():
        try:
            _render(jobs, group, template, tokenizer, prompts)
        except DataError:
            for one in group:  # an error is that of one conversation, not of the others
                try:
                    _render(jobs, [one], template, tokenizer, prompts)
                except DataError as error:
                    failed[one[0]] = error
    return failed


def _render(
    jobs: Mapping[int, Job],
    group: list[tuple[int, int]],
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: bool,
) -> None:
    """Render answers of jobs that have the same tools and variables."""
    number, which = group[0]
    tools, variables = jobs[number].tools, jobs[number].answers[which][1]

    def texts(after: int, generation_prompt: bool) -> list[str]:
        parts = [
            jobs[number].messages[: jobs[number].answers[which][0] + after]
            for number, which in group
        ]
        return render(
            template,
            tokenizer,
            parts,
            tools=tools,
            generation_prompt=generation_prompt,
            variables=variables,
        )

    whole = texts(1, False)
    asked = texts(0, True) if prompts else whole
    for (number, which), pair in zip(group, zip(asked, whole, strict=True), strict=True):
        jobs[number].texts[which] = pair


class Openings:
    """Find the system prompt at the start of rows. Many rows have the same one."""

    def __init__(
        self, template: ChatTemplate, tokenizer: "PreTrainedTokenizerBase", encoder: ChatEncoder
    ) -> None:
        self.template, self.tokenizer, self.encoder = template, tokenizer, encoder
        self._known: dict[str, list[int]] = {}

    def length(self, job: Job, ids: npt.NDArray[np.int32]) -> int:
        """Return how many ids of a row are the system prompt and the tools.

        It is 0 if there is none, or if the template writes it into the user's message.
        """
        first = job.messages[0]
        if first["role"] != "system":
            return 0
        key = json.dumps([first, job.tools], ensure_ascii=False, default=str)
        if key not in self._known:
            if len(self._known) > _MAX_OPENINGS:
                self._known.clear()
            try:
                [text] = render(self.template, self.tokenizer, [[first]], tools=job.tools)
                # Some templates write nothing of it before the first user's turn.
                shows = first["content"].strip() in text
                self._known[key] = self.encoder.encode(text) if shows else []
            except DataError:  # the template does not accept it alone
                self._known[key] = []
        opening = self._known[key]
        return len(opening) if ids[: len(opening)].tolist() == opening else 0
