"""Lines that a user types -> a dialogue with a model, with its base, or with both."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from anima_exp.answers.prompts import Prompt, Turn, has_turns, prompt
from anima_exp.answers.stream import Stream
from anima_exp.answers.write import Asked, seed
from anima_exp.model.decode import context, decode
from anima_exp.model.generate import inference
from anima_exp.terminal import visible

BASE, ADAPTER = "base", "adapter"
_HELP = """\
/both     base and adapter answer every question; each remembers its own answers
/base     only the base answers
/adapter  only the adapter answers
/reset    forget what was said
/help     this list
Ctrl-C stops an answer, Ctrl-D leaves."""


class Chat:
    """A dialogue with each speaker: the adapter and, with it switched off, its base."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        asked: Asked,
        *,
        compare: bool = False,
        write: Callable[[str], None],
    ) -> None:
        self.model, self.tokenizer, self.asked, self.write = model, tokenizer, asked, write
        self.adapted = hasattr(model, "disable_adapter")
        usual = [ADAPTER] if self.adapted else [BASE]
        self.speakers = [BASE, ADAPTER] if compare and self.adapted else usual
        self.said: dict[str, list[Turn]] = {BASE: [], ADAPTER: []}
        self.count = 0

    def run(self, lines: Iterable[str]) -> None:
        """Answer every line; a line that begins with `/` is a command."""
        prompt(self.asked.template, self.tokenizer, "")  # a format that cannot be is told at once
        self._tell(self._greeting())
        for line in lines:
            text = line.strip()
            if text.startswith("/"):
                self._command(text)
            elif text:
                self.count += 1
                for speaker in self.speakers:
                    self._answer(speaker, text)

    def _command(self, text: str) -> None:
        choices = {"/base": [BASE], "/adapter": [ADAPTER], "/both": [BASE, ADAPTER]}
        if text == "/reset":
            self.said = {BASE: [], ADAPTER: []}
            self._tell("Forgotten.")
        elif text in choices and self.adapted:
            self.speakers = choices[text]
            self._tell(f"Now {' and '.join(self.speakers)}.")
        elif text in choices:
            self._tell("There is no adapter here to tell from its base.")
        elif text == "/help":
            self._tell(_HELP)
        else:
            self._tell(f"There is no {visible(text)}. /help lists what there is.")

    def _answer(self, speaker: str, question: str) -> None:
        turns = self.said[speaker]
        fitting, put = self._fit(question, turns)
        if put is None:
            self._tell("The question is longer than the model's context. Ask less at once.")
            return
        if fitting < len(turns) and has_turns(self.asked.template):
            self._tell(f"(the first {len(turns) - fitting} turns no longer fit, and are forgotten)")
            del turns[: len(turns) - fitting]
        if len(self.speakers) > 1:
            self.write(f"{speaker:<7}  ")
        stream = Stream(self.write, self.asked.sampling().stop)
        try:
            with inference(self.model, self.asked.precision), self._as(speaker):
                [answer] = decode(
                    self.model,
                    self.tokenizer,
                    [put.ids],
                    self.asked.sampling(),
                    seeds=[seed(self.asked.config.sampling_seed, self.count)],
                    watch=stream,
                )
        except KeyboardInterrupt:
            self.write("\n")
            self._tell("(stopped)")
            turns.append((question, stream.text))
            return
        stream.end(answer.text)
        if answer.finish == "length":
            self._tell(f"(cut after {answer.tokens} tokens: max_new_tokens or the context)")
        turns.append((question, answer.text.strip()))

    def _fit(self, question: str, turns: Sequence[Turn]) -> tuple[int, Prompt | None]:
        """How many of the last turns leave room for an answer, and the prompt with them.

        Room is max_new_tokens, or half the context where that is less. A question alone may take
        all but one token.
        """
        most = context(self.model)
        for kept in range(len(turns), -1, -1):
            put = prompt(self.asked.template, self.tokenizer, question, turns[len(turns) - kept :])
            room = min(self.asked.config.max_new_tokens, (most or 0) // 2) if kept else 1
            if most is None or len(put.ids) + room <= most:
                return kept, put
        return 0, None

    def _as(self, speaker: str) -> AbstractContextManager[Any]:
        off = speaker == BASE and self.adapted
        return self.model.disable_adapter() if off else nullcontext()

    def _greeting(self) -> str:
        template = self.asked.template
        memory = "" if has_turns(template) else ", which has no turns: each question stands alone"
        who = f"{self.asked.model_id}, prompt format {template}{memory}"
        return f"{who}. /help lists commands; Ctrl-D leaves."

    def _tell(self, text: str) -> None:
        self.write(f"{text}\n")


def to_terminal(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def typed() -> Iterator[str]:
    """Lines from the terminal, or from a pipe: then each is shown before its answer."""
    if not sys.stdin.isatty():
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        for line in sys.stdin:
            if line.strip():
                to_terminal(f"> {visible(line.strip())}\n")
            yield line
        return
    import readline  # noqa: F401 - gives input() a history and line editing

    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            to_terminal("\n(Ctrl-D leaves)\n")
        except EOFError:
            to_terminal("\n")
            return
