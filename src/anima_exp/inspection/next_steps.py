"""Suggest what to do with a run: the commands that resume, use or repeat it."""

from anima_exp.cli.reproduce import Reproduction, place
from anima_exp.inspection.detail import RunDetail
from anima_exp.inspection.options import Status
from anima_exp.system.invocation import command_line


def next_steps(detail: RunDetail, again: Reproduction) -> list[tuple[str, str]]:
    """Return (what for, the command) pairs for a run in its present status."""
    folder = detail.summary.folder
    train = command_line("train", [*again.overrides, *place(folder, again)])
    if detail.summary.status is Status.done:
        run = f"run={folder}"
        return [
            ("ask it", command_line("generate", [run])),
            ("measure", command_line("evaluate", [run, "evals=[mmlu]"])),
            ("repeat", command_line("train", ["-m", *again.overrides, "seed=1,2,3"])),
        ]
    if detail.summary.status is Status.running:
        return []
    purpose = "retry" if detail.summary.status is Status.failed else "resume"
    result = [(purpose, train)]
    if again.missing:
        result.append(("note", f"Write your file for PATH: {', '.join(again.missing)}."))
    elif detail.checkpoint_step is not None:
        result.append(
            ("note", f"It continues from the checkpoint of step {detail.checkpoint_step}.")
        )
    else:
        result.append(("note", "There is no checkpoint, so it starts from the beginning."))
    return result
