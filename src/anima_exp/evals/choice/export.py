"""A benchmark's prompts -> a file in the form of QLoRA's five_shot_mmlu_val.json: JSON lines."""

import json
from pathlib import Path

from anima_exp.evals.choice.benchmark import LETTERS
from anima_exp.evals.choice.measure import Ready
from anima_exp.results.files import asked_for, write_text


def export(ready: Ready, path: Path) -> None:
    """One line a question: subject, input (the prompt), output (the letter).

    Raises:
        RunError: `path` cannot be written.
    """
    lines = [
        json.dumps({"subject": one.subject, "input": one.text, "output": LETTERS[one.answer]})
        for one in ready.asked
    ]
    with asked_for(path, way_out="Give another prompts=FOLDER."):
        write_text(path, "\n".join([*lines, ""]))
