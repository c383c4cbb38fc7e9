"""Turn conversations into token ids, and find the ids to train on.

A template's text does not say which part of it the model wrote. So each assistant message is
rendered twice: the messages before it with a generation prompt, and the same with the message. The
first text is the model's input at inference, and what follows it in the second is what the model
has to generate. Both are compared token by token, and no text is searched for.

Some templates rewrite earlier messages, for example to remove their thinking. Then a conversation
becomes several rows, so that every trained message follows the ids that precede it at inference.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anima_exp.config import Thinking, TrainOn
from anima_exp.data.chat import asking, templates
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.end_of_turn import EndOfTurn
from anima_exp.data.chat.policy import trained, variables, with_thinking
from anima_exp.data.chat.rendering import Job, Openings, Turn, job, render_jobs
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.data.chat.tokens import ChatEncoder, Text
from anima_exp.data.chat.verification import Verifier, check_prefix, written_tokens
from anima_exp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Rows = list["MaskedRow"]
_KEEP_HINT = "; data.thinking=keep asks for each answer as it was written, with thinking or without"
_QUESTION, _ANSWER = Message("user", "What is 2+2?"), Message("assistant", "It is 4.")


@dataclass(frozen=True)
class Span:
    """The trained ids of one message: row.ids[start:end]. The last one ends generation."""

    start: int
    end: int
    message: int
    lacks_thinking: bool = False  # the message has thinking, which the template does not show here


@dataclass(frozen=True)
class MaskedRow:
    """The ids of one training row, and which of them are labels."""

    ids: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]
    spans: tuple[Span, ...]  # empty if everything is trained on
    opening: int = 0  # how many ids are the system prompt; 0: none, or not to be separated
    spells_control: bool = False  # a text of the conversation spells a control token


@dataclass
class _Draft:
    """A row, and the text of all its ids or, if `whole` is false, of its last prompt."""

    row: MaskedRow
    text: Text
    whole: bool

    def ids_of_text(self) -> list[int]:
        end = len(self.row.ids) if self.whole else self.row.spans[-1].start
        return list(self.row.ids[:end].tolist())


class ChatMasks:
    """Turn conversations into rows, with one template and tokenizer.

        masks = ChatMasks(choose(None, tokenizer), tokenizer)
        for row in masks.rows(conversation):
            print(tokenizer.decode(row.ids[row.mask]))

    Args:
        train_on: `assistant`: the answers whose message does not say `train=False`. `last`: the
            last of these. `message`: the same, but a flag on another role is an error. `all`: the
            whole text, as the template shows it.
        thinking: `template`: as the template shows it, in its default mode. `keep`: each answer in
            the mode in which it was written, and its thinking must be in it. `drop`: none.
        stops: the ids at which generation stops, in addition to EOS. They matter only for templates
            that write no token after an answer.

    Raises:
        ConfigError: the template is refused, because it fails the verification.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: "PreTrainedTokenizerBase",
        train_on: TrainOn | str = TrainOn.assistant,
        thinking: Thinking | str = Thinking.template,
        stops: Collection[int] = (),
    ) -> None:
        self.template, self.tokenizer, self.stops = template, tokenizer, frozenset(stops)
        self.train_on = TrainOn.assistant
        self.thinking = Thinking(thinking)
        switches = thinking == "template" and "enable_thinking" in template.source
        self._hint = _KEEP_HINT if switches else ""
        self.encoder = ChatEncoder(tokenizer, written_tokens(template, tokenizer))
        self._verifier = Verifier(template, tokenizer, self.encoder)
        self._openings = Openings(template, tokenizer, self.encoder)
        try:
            self._end = EndOfTurn(
                template, tokenizer, self.encoder, {*stops, tokenizer.eos_token_id}
            )
            self._check_template()
        except DataError as error:
            raise ConfigError(
                f"{template} cannot be trained with. In a test conversation, "
                f"{str(error).rstrip('.')}. Choose another template, or the path of a .jinja file "
                "in which this is corrected."
            ) from error
        self.train_on = TrainOn(train_on)

    @property
    def stop_ids(self) -> list[int]:
        """The ids that end the answers of this template, at which generation has to stop."""
        return self._end.ids

    @cached_property
    def refused_in_a_row(self) -> tuple[str, ...]:
        """The roles of which the template refuses two turns in a row."""
        return templates.refused_in_a_row(self.template, self.tokenizer)

    def rows(self, conversation: Conversation) -> Rows:
        """Return the rows of a conversation: one, unless the template rewrites earlier messages.

        Raises:
            DataError: it cannot be trained on, or fails the verification.
        """
        [found] = self.rows_of_each([conversation])
        if isinstance(found, DataError):
            raise found
        return found

    def rows_of_each(self, conversations: Iterable[Conversation]) -> list[Rows | DataError]:
        """Return the rows of each conversation, or why it has none. Many at once are faster."""
        results: dict[int, Rows | DataError] = {}
        jobs: dict[int, Job] = {}
        for number, conversation in enumerate(conversations):
            results[number] = []
            try:
                jobs[number] = self._job(conversation)
            except DataError as error:
                results[number] = error
        rewritten = self.train_on != "all"
        results |= render_jobs(jobs, self.template, self.tokenizer, prompts=rewritten)
        turns = {n: self._turns(each) for n, each in jobs.items() if results[n] == []}
        self.encoder.begin_batch()
        self.encoder.prepare(
            text for each in turns.values() for turn in each for text in (turn.prompt, turn.full)
        )
        drafts: dict[int, list[_Draft]] = {}
        for number, each in turns.items():
            try:
                drafts[number] = self._drafts(jobs[number], each)
                opening = self._openings.length(jobs[number], drafts[number][0].row.ids)
                results[number] = [
                    replace(draft.row, opening=opening, spells_control=jobs[number].hidden)
                    for draft in drafts[number]
                ]
            except DataError as error:
                results[number] = error
        return list((results | self._other_ids(jobs, drafts)).values())

    def prompt(self, conversation: Conversation, *, thinks: bool = True) -> list[int]:
        """Return the ids that the model is given to answer a conversation.

        Args:
            thinks: the answer is to have thinking, if `thinking=keep`.
        """
        asked = asking.prompt(
            with_thinking(conversation, self.thinking),
            self.template,
            self.tokenizer,
            self.encoder,
            variables=variables(self.thinking, thinks=thinks),
        )
        return asked.ids

    def _job(self, conversation: Conversation) -> Job:
        conversation = with_thinking(conversation, self.thinking)
        messages = conversation.messages
        answers = [
            (number, variables(self.thinking, thinks=messages[number].thinking is not None))
            for number in trained(messages, self.train_on)
        ]
        return job(conversation, answers, self.encoder)

    def _turns(self, each: Job) -> list[Turn]:
        turns = []
        last = None
        for (message, _), (prompt_text, text) in zip(each.answers, each.texts, strict=True):
            prompt = self.encoder.divide(prompt_text, last)
            last = self.encoder.divide(text, prompt)
            turns.append(Turn(message, prompt, last))
        return turns

    def _drafts(self, each: Job, turns: list[Turn]) -> list[_Draft]:
        if each.hidden:
            self._verifier.check_hidden(each, turns[-1], each.answers[-1][1])
        if self.train_on == "all":
            return [self._all(turns[0].full)]
        for turn, (_, given) in zip(turns, each.answers, strict=True):
            check_prefix(turn, self.encoder, self._hint)
            turn.lacks_thinking = not self._verifier.check_answer(
                each, turn, given, keep_thinking=self.thinking == "keep"
            )
            self._find(turn, calls="tool_calls" in each.messages[turn.message])
        shared: list[tuple[Turn, list[Span]]] = []
        for turn in reversed(turns):
            span = Span(turn.start, turn.end, turn.message, turn.lacks_thinking)
            for later, spans in shared:
                if turn.end <= spans[-1].start and later.ids[: turn.end] == turn.ids[: turn.end]:
                    spans.append(span)
                    break
            else:
                shared.append((turn, [span]))
        drafts = []
        for turn, spans in reversed(shared):
            row = _row(turn.ids, spans[::-1])
            self._verifier.check_row(row.ids, row.mask, turn.full)
            drafts.append(_Draft(row, turn.full if turn.whole else turn.prompt, turn.whole))
        return drafts

    def _find(self, turn: Turn, *, calls: bool) -> None:
        """Find the ids of a trained message, from the prompt to the token that ends generation."""
        begin, ids = self.encoder.ids(turn.prompt.pieces), self.encoder.ids(turn.full.pieces)
        turn.whole = ids[: len(begin)] == begin
        if not turn.whole:
            # The prompt's last token and the answer's first would be one. At inference they are
            # not, because the prompt is complete before the answer begins.
            ids = begin + self.encoder.after(begin, turn.answer)
        turn.ids, turn.start = ids, len(begin)
        self._end.find(turn, calls=calls)

    def _all(self, text: Text) -> _Draft:
        ids = self.encoder.ids(text.pieces)
        row = _row(ids, [])
        row.mask[:] = True
        row.mask[0] = ids[0] != self.tokenizer.bos_token_id  # nothing precedes BOS
        self._verifier.check_ids(row.ids, text)
        return _Draft(row, text, whole=True)

    def _other_ids(
        self, jobs: Mapping[int, Job], drafts: Mapping[int, list[_Draft]]
    ) -> dict[int, Rows | DataError]:
        """Return errors for rows whose ids are not those of the tokenizer for the whole text.

        The last row of a conversation is checked. Its other rows have the same pieces.
        """
        checked = [(number, each[-1]) for number, each in drafts.items() if not jobs[number].hidden]
        wholes = self.encoder.wholes([draft.text.text for _, draft in checked])
        return {
            number: DataError(
                f"the tokenizer of {self.tokenizer.name_or_path} gives other ids to a whole "
                "conversation than to its parts between control tokens"
            )
            for (number, draft), whole in zip(checked, wholes, strict=True)
            if draft.ids_of_text() != whole
        }

    def _check_template(self) -> None:
        """Raise DataError if short conversations fail, of those that the template accepts."""
        try:
            self._check_conversations(_ANSWER)
        except DataError as error:
            # Some templates ask for thinking by default. Then answers without it are bad rows.
            try:
                self._check_conversations(replace(_ANSWER, thinking="2 and 2 are 4."))
            except DataError:
                raise error from None

    def _check_conversations(self, answer: Message) -> None:
        turn = (_QUESTION, answer)
        tried = (turn, turn * 2, (Message("system", "Be brief."), *turn))
        jobs = {number: self._job(Conversation(each)) for number, each in enumerate(tried)}
        refused = render_jobs(jobs, self.template, self.tokenizer)
        if 0 in refused:
            raise refused[0]
        accepted = (Conversation(each) for n, each in enumerate(tried) if n not in refused)
        for found in self.rows_of_each(accepted):
            if isinstance(found, DataError):
                raise found


def _row(ids: list[int], spans: list[Span]) -> MaskedRow:
    mask = np.zeros(len(ids), dtype=np.bool_)
    for span in spans:
        mask[span.start : span.end] = True
    return MaskedRow(np.array(ids, dtype=np.int32), mask, tuple(spans))
