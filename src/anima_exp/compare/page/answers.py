"""generations.jsonl of many runs -> what each answered before and after, every text once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from anima_exp.page.words import cut, shown

LETTERS = 4000  # of one answer


@dataclass
class Answers:
    """Texts are numbered: runs of one base share their answers before training."""

    prompts: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    def of(self, rows: Sequence[dict[str, Any]]) -> tuple[dict[int, int], dict[int, int]]:
        """Prompt -> text, before the first step and after the last; only after, if seen once."""
        first: dict[int, tuple[int, int]] = {}
        last: dict[int, tuple[int, int]] = {}
        for row in rows:
            step, prompt, response = (row.get(key) for key in ("step", "prompt", "response"))
            if not isinstance(step, int) or prompt is None or response is None:
                continue
            at = self.prompts.setdefault(shown(prompt), len(self.prompts))
            seen = step, self.texts.setdefault(cut(shown(response), LETTERS), len(self.texts))
            first[at] = min(first.get(at, seen), seen, key=lambda pair: pair[0])
            last[at] = max(seen, last.get(at, seen), key=lambda pair: pair[0])
        before = {at: text for at, (step, text) in first.items() if step < last[at][0]}
        return before, {at: text for at, (_, text) in last.items()}
