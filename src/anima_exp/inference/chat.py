"""Run a chat in the terminal with a model, its base, or several adapters."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from anima_exp.data.prompts import Prompt, has_turns
from anima_exp.errors import AnimaError
from anima_exp.inference.speakers import ChatParticipant, answer, thinking_tokens, width
from anima_exp.model.base_config import context_length
from anima_exp.system.terminal import dimmed, is_unread, printable

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HELP = """\
/both     base and adapter answer every question; each has its own conversation
/base     only the base answers
/adapter  only the adapter answers
/system   set the system prompt to the text behind it; without a text, remove it
/reset    clear the conversation
/help     show this list
Ctrl-C stops an answer. Ctrl-D quits."""
_HELP_SEVERAL = """\
/all       base and adapters answer every question; each has its own conversation
/base      only the base answers
/adapters  every adapter answers, but not the base
/1 /2 ...  only that adapter answers
/system    set the system prompt to the text behind it; without a text, remove it
/reset     clear the conversation
/help      show this list
Ctrl-C stops an answer. Ctrl-D quits."""


class Chat:
    """A conversation with each speaker.

    Args:
        speakers: the base, then each adapter; or only the base.
        compare: let the base answer too, from the start.
        show_thinking: show the thinking of answers, and not only how long it is.
        write: writes text to the terminal.
    """

    def __init__(
        self,
        model: "PreTrainedModel | PeftModel",
        tokenizer: "PreTrainedTokenizerBase",
        speakers: Sequence[ChatParticipant],
        *,
        compare: bool = False,
        show_thinking: bool = True,
        write: Callable[[str], None],
    ) -> None:
        self.show_thinking = show_thinking
        self.model, self.tokenizer, self.write = model, tokenizer, write
        self.everyone = list(speakers)
        self.adapters = [speaker for speaker in speakers if speaker.adapter]
        self.speakers = self.everyone if compare or not self.adapters else self.adapters
        self.count = 0

    def run(self, lines: Iterable[str]) -> None:
        """Answer every line, and execute lines that begin with `/` as commands."""
        for speaker in self.everyone:  # raises at once if a prompt format does not work
            speaker.prompter(self.tokenizer).prompt("")
        self._greet()
        for line in lines:
            text = line.strip()
            if text in ("/quit", "/exit"):
                return
            if text.startswith("/"):
                self._command(text)
            elif text:
                self.count += 1
                for speaker in self.speakers:
                    self._answer(speaker, text)

    def _command(self, text: str) -> None:
        several = len(self.adapters) > 1
        choices = dict.fromkeys(("/both", "/all"), self.everyone)
        choices |= dict.fromkeys(("/adapter", "/adapters"), self.adapters)
        choices |= {"/base": [one for one in self.everyone if not one.adapter]}
        if several:
            choices |= {f"/{number}": [one] for number, one in enumerate(self.adapters, start=1)}
        if text == "/reset":
            for speaker in self.everyone:
                speaker.history.clear()
            self._tell("Conversation cleared.")
        elif text.partition(" ")[0] == "/system":
            self._use_system(text.partition(" ")[2].strip())
        elif text in choices and self.adapters:
            self.speakers = choices[text]
            self._tell(f"Now answering: {' and '.join(one.name for one in self.speakers)}.")
        elif text in choices:
            self._tell("No adapter is loaded, so there is nothing to switch.")
        elif text == "/help":
            self._tell(_HELP_SEVERAL if several else _HELP)
        else:
            self._tell(f"Unknown command {printable(text)}. /help lists the commands.")

    def _use_system(self, text: str) -> None:
        for speaker in self.everyone:
            try:
                speaker.use_system(text or None, self.tokenizer)
            except AnimaError as error:
                self._tell(f"{speaker.name}: {printable(str(error))}")
            else:
                self._tell(f"{speaker.name}: system prompt {'set' if text else 'removed'}.")

    def _hidden(self, thinking: str) -> None:
        self.write(dimmed(f"({thinking_tokens(self.tokenizer, thinking)})") + "\n")

    def _answer(self, speaker: ChatParticipant, question: str) -> None:
        turns = speaker.history
        fitting, fitted = self._fit(question, speaker)
        if fitted is None:
            self._tell("The question is longer than the model's context. Shorten it.")
            return
        if fitting < len(turns) and has_turns(speaker.request.template):
            dropped = len(turns) - fitting
            self._tell(f"(the first {dropped} turns no longer fit the context and were dropped)")
            del turns[: len(turns) - fitting]
        if len(self.speakers) > 1:
            self.write(f"{speaker.name:<{width(self.speakers)}}")
        stream = speaker.stream(self.write, None if self.show_thinking else self._hidden)
        try:
            found = answer(self.model, self.tokenizer, speaker, fitted, stream, number=self.count)
        except KeyboardInterrupt:
            self.write("\n")
            self._tell("(stopped)")
            turns.append((question, stream.text))
            return
        if found.finish == "length":
            self._tell(f"(truncated after {found.tokens} tokens: max_new_tokens or the context)")
        turns.append((question, found.text.strip()))

    def _fit(self, question: str, speaker: ChatParticipant) -> tuple[int, Prompt | None]:
        """Return how many of the last turns fit into the context, and the prompt with them.

        The answer needs max_new_tokens, or half the context if that is less. If no turn fits, the
        question may use all but one token.
        """
        context, turns = context_length(self.model.config), speaker.history
        request, prompter = speaker.request, speaker.prompter(self.tokenizer)
        for kept in range(len(turns), -1, -1):
            built = prompter.prompt(question, turns[len(turns) - kept :])
            needed = min(request.config.max_new_tokens, (context or 0) // 2) if kept else 1
            if context is None or len(built.ids) + needed <= context:
                return kept, built
        return 0, None

    def _greet(self) -> None:
        speakers = self.adapters or self.everyone
        for position, speaker in enumerate(speakers, start=1):
            template = speaker.request.template
            memory = (
                ""
                if has_turns(template)
                else ", which has no turns: the model sees each question on its own"
            )
            number = f"{position}  " if len(speakers) > 1 else ""
            self._tell(f"{number}{speaker.request.model_id}, prompt format {template}{memory}")
        self._tell("/help lists the commands. Ctrl-D quits.")

    def _tell(self, text: str) -> None:
        self.write(f"{text}\n")


def to_terminal(text: str) -> None:
    """Write text to stdout, and exit quietly if its reader has closed the pipe."""
    sys.stdout.write(text)
    sys.stdout.flush()
    if is_unread():  # for example `| head`
        sys.exit(128 + signal.SIGPIPE)


def read_user_lines() -> Iterator[str]:
    """Yield lines from the terminal or from a pipe. Those of a pipe are shown with the answers."""
    if not sys.stdin.isatty():
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        for line in sys.stdin:
            if line.strip():
                to_terminal(f"> {printable(line.strip())}\n")
            yield line
        return
    import readline  # noqa: F401 - gives input() a history and line editing

    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            to_terminal("\n(Ctrl-D quits)\n")
        except EOFError:
            to_terminal("\n")
            return
