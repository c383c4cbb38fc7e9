"""Build the prompt of a question and the turns before it, as text and as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anima_exp.config import Thinking
from anima_exp.data.chat.asking import ChatPrompts, answered
from anima_exp.data.chat.asking import Prompt as Prompt
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.templates import OWN, choose
from anima_exp.data.encode import Put, TextEncoder
from anima_exp.data.formats import CHAT, Format, for_answers
from anima_exp.errors import ConfigError, DataError, ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "prompt_template"

Turn = tuple[str, str]  # question, answer


@dataclass(frozen=True)
class ChatOptions:
    """What a chat template is given besides the turns. Other formats take none of it."""

    system: str | None = None  # for conversations that do not begin with a system prompt
    tools: tuple[dict[str, Any], ...] = ()  # for conversations without tools of their own
    thinking: Thinking = Thinking.template  # data.thinking, with which the model was trained
    thinks: bool | None = None  # whether an answer is to have thinking; None: as `thinking` says


NO_OPTIONS = ChatOptions()


def stops(template: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the texts that end an answer: those given, or by default those of the format."""
    return for_answers(template, key=KEY).stops if given is None else tuple(given)


def has_turns(template: str) -> bool:
    """Return whether a prompt of this format can contain earlier turns."""
    return for_answers(template, key=KEY).has_turns


def is_chat(template: str) -> bool:
    """Return whether a prompt of this format is written by the tokenizer's chat template."""
    return for_answers(template, key=KEY).tokenizers_own


def check(template: str, *, key: str = KEY) -> None:
    """Raise ConfigError if there is no such format. `key` is the setting that names it."""
    for_answers(template, key=key)


def prompt(
    template: str,
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    before: Sequence[Turn] = (),
    options: ChatOptions = NO_OPTIONS,
) -> Prompt:
    """Return the prompt of one question. For several, make one Prompter."""
    return Prompter(template, tokenizer, options).prompt(question, before)


class Prompter:
    """Build prompts in the format `template`.

    Raises:
        ConfigError: if there is no such format, or it does not take the options.
        ModelError: if `chat` is chosen and the tokenizer has no chat template, or one that fails.
    """

    def __init__(
        self,
        template: str,
        tokenizer: "PreTrainedTokenizerBase",
        options: ChatOptions = NO_OPTIONS,
    ) -> None:
        self.form = for_answers(template, key=KEY)
        self.tokenizer, self.options = tokenizer, options
        self._chat: ChatPrompts | None = None
        self._encoder: TextEncoder | None = None
        if self.form.tokenizers_own:
            self._chat = _chat_prompts(tokenizer, options)
            self._check_options(self._chat)
        else:
            check_options(template, options)
            self._encoder = TextEncoder(tokenizer)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer, in addition to the tokenizer's and the model's own."""
        return tuple(self._chat.stop_ids) if self._chat else ()

    def prompt(self, question: str, before: Sequence[Turn] = ()) -> Prompt:
        """Return the prompt of a question.

        Args:
            before: earlier turns, which are ignored if the format has no turns.
        """
        if self._chat:
            earlier = [
                message
                for asked, answer in before
                for message in (Message("user", asked), answered(answer))
            ]
            return self._of_chat(Conversation((*earlier, Message("user", question))))
        return self._dialogue(question, before if self.form.has_turns else ())

    def conversation(self, conversation: Conversation) -> Prompt:
        """Return the prompt of the answer to a conversation, whose last turn is not an answer.

        Raises:
            DataError: if the format cannot show a part of the conversation.
        """
        if self._chat:
            return self._of_chat(conversation)
        question, before = _turns(conversation, self.form)
        return self._dialogue(question, before)

    def _of_chat(self, conversation: Conversation) -> Prompt:
        assert self._chat
        options = self.options
        if options.system and conversation.messages[0].role != "system":
            system = Message("system", options.system)
            conversation = replace(conversation, messages=(system, *conversation.messages))
        if options.tools and not conversation.tools:
            conversation = replace(conversation, tools=options.tools)
        try:
            return self._chat.prompt(conversation)
        except DataError as error:
            raise self._error(error) from error

    def _dialogue(self, question: str, before: Sequence[Turn]) -> Prompt:
        def render(put: Put) -> str:
            turns = [(put(earlier), put(answer)) for earlier, answer in before]
            return _dialogue(self.form, put(question), turns)

        assert self._encoder
        [ids] = self._encoder.prompts([render])
        return Prompt(render(str), ids)

    def _check_options(self, chat: ChatPrompts) -> None:
        """Raise if the chat template does not take the options."""
        name, options = self.tokenizer.name_or_path, self.options
        if options.thinks is not None and not chat.switches_thinking:
            raise ConfigError(
                f"thinking={str(options.thinks).lower()} changes nothing, because the chat "
                f"template of {name} does not read enable_thinking. Leave thinking=null."
            )
        try:
            if options.tools and not chat.shows(options.tools):
                raise ConfigError(
                    f"tools=FILE changes nothing, because the chat template of {name} does not "
                    "show tools. Leave out tools, or describe them with system=TEXT."
                )
        except DataError as error:
            raise self._error(error) from error

    def _error(self, error: DataError) -> ModelError:
        return ModelError(
            f"{KEY}={CHAT} does not work, because the chat template of "
            f"{self.tokenizer.name_or_path} fails: {first_line(error.__cause__ or error)} Use the "
            f"format that the model was trained on: {KEY}=guanaco, alpaca, ..., or another "
            "tokenizer with model.tokenizer=..."
        )


def check_options(template: str, options: ChatOptions) -> None:
    """Raise ConfigError if the format `template` is not `chat` and cannot take the options."""
    if is_chat(template):
        return
    given = {
        "system=TEXT": options.system is not None,
        "tools=FILE": bool(options.tools),
        f"thinking={str(options.thinks).lower()}": options.thinks is not None,
    }
    for key, is_given in given.items():
        if is_given:
            raise ConfigError(
                f"{key} is for a chat template, but the model is prompted in the format "
                f"{template}. Leave it out, or use the tokenizer's chat template: {KEY}={CHAT}."
            )


def _chat_prompts(tokenizer: "PreTrainedTokenizerBase", options: ChatOptions) -> ChatPrompts:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{KEY}={CHAT} needs a chat template, which the tokenizer of {tokenizer.name_or_path} "
            f"does not have. Use the format that the model was trained on: {KEY}=guanaco, "
            "alpaca, ..., or choose a chat template with data.template=NAME."
        )
    template = choose(OWN, tokenizer)
    return ChatPrompts(template, tokenizer, thinking=options.thinking, thinks=options.thinks)


def _turns(conversation: Conversation, form: Format) -> tuple[str, list[Turn]]:
    """Return the last question of a conversation and the turns before it.

    Raises:
        DataError: if the conversation has more than questions and answers in turn, or earlier turns
            in a format without turns. The caller says which conversation it is.
    """
    messages = conversation.messages
    roles = [message.role for message in messages]
    calls = any(message.role == "tool" or message.tool_calls for message in messages)
    alternate = roles == [("user", "assistant")[number % 2] for number in range(len(roles))]
    kinds = {
        "a system prompt": "system" in roles,
        "tools": bool(conversation.tools) or calls,
        "thinking": any(message.thinking for message in messages),
        "earlier turns": len(messages) > 1 and not form.has_turns,
    }
    if lacking := next((kind for kind, has in kinds.items() if has), None):
        raise DataError(
            f"it has {lacking}, which the format {form.name} cannot show. Use {KEY}={CHAT}."
        )
    if not alternate:
        raise DataError(
            f"user and assistant do not alternate, as the format {form.name} needs. Use "
            f"{KEY}={CHAT}."
        )
    texts = [message.content for message in messages]
    return texts[-1], list(zip(texts[:-1:2], texts[1::2], strict=True))


def _dialogue(form: Format, question: str, before: Sequence[Turn]) -> str:
    assert form.prompt is not None
    text = ""
    for number, (asking, answer) in enumerate([*before, (question, "")]):
        turn = form.prompt(asking)
        if not isinstance(turn, str):
            raise ConfigError(
                f"{KEY}={form.name} must return text, but returned {type(turn).__name__}."
            )
        if number:
            turn = form.between + turn.removeprefix(form.opening)
        space = "" if turn.endswith((" ", "\n")) or not answer else " "
        text += f"{turn}{space}{answer}"
    return text
