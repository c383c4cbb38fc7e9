"""Write the page of errors from the classes of anima_exp.errors, and that of exit statuses."""

import inspect
from collections.abc import Iterator

import anima_exp
from anima_exp import errors
from anima_exp.reference import markdown
from anima_exp.system.child_process import Exit

# The meanings of a process's exit status, for users who script the commands.
_STATUSES = {
    "0": "The command did its work. A run that was done before counts as done.",
    "1": "The command failed. One line on stderr, or a traceback of a bug, says why.",
    str(Exit.paused.value): "Internal: the run reached the step at which the sweep pauses it.",
    str(Exit.in_use.value): "Internal: another process works on the same run.",
    str(Exit.lost.value): "Internal: another process of the same run has died.",
    str(Exit.stopped.value): "Internal: a job of a sweep was stopped and saved a checkpoint.",
    str(Exit.cuda_initialized.value): "Internal: the parent of a job had initialized CUDA already.",
    str(Exit.gpu_taken.value): "Internal: another sweep took the GPU first.",
    "130": "Ctrl-C. A training run has saved a checkpoint. Run the command again to resume.",
    "143": "SIGTERM. A training run has saved a checkpoint. Run the command again to resume.",
    "128 + n": "Signal n of a scheduler. A training run has saved a checkpoint.",
}


def errors_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Errors", _lines())


def tree() -> list[tuple[int, type[Exception]]]:
    """Return every class that a user may meet, with its depth under its base class."""
    public = {name: getattr(anima_exp, name) for name in getattr(anima_exp, "__all__", ())}
    classes = [
        one
        for name, one in {**vars(errors), **public}.items()
        if inspect.isclass(one)
        and issubclass(one, Exception)
        and one.__module__.startswith(f"{anima_exp.__name__}.")
        and not name.startswith("_")
    ]
    roots = [one for one in classes if not set(one.__bases__) & set(classes)]

    def below(parent: type[Exception], depth: int) -> Iterator[tuple[int, type[Exception]]]:
        yield depth, parent
        for one in classes:
            if parent in one.__bases__:
                yield from below(one, depth + 1)

    return [item for root in roots for item in below(root, 0)]


def parts(error: type[Exception]) -> tuple[str, str]:
    """Return what an error means, and what to do about it, from its docstring."""
    meaning, remedy, *_ = [*inspect.cleandoc(error.__doc__ or "").split("\n\n"), "", ""]
    return " ".join(meaning.split()), " ".join(remedy.split())


def _lines() -> Iterator[str]:
    yield (
        "A mistake of the user ends a command with one line, `anima_exp: ...`, and no traceback. "
        "The line names the setting with its value, says why it cannot be, and says what to do. "
        "A traceback is a bug: please report it. `HYDRA_FULL_ERROR=1` shows the traceback of a "
        "mistake too."
    )
    yield ""
    yield (
        "In Python the same line is the text of an exception. `except ax.AnimaError` catches "
        "every mistake of the user. It catches no bug and no stop."
    )
    yield ""
    yield from markdown.block(
        "\n".join(f"{'    ' * depth}{error.__name__}" for depth, error in tree()), "text"
    )
    yield ""
    yield from markdown.table(
        ["error", "what it means", "what to do"],
        [[f"`{error.__name__}`", *parts(error)] for _, error in tree()],
    )
    yield ""
    yield "A sweep writes the error of a failed run into `failure.txt` in the folder of the run."
    yield ""
    yield "## Exit statuses"
    yield ""
    yield (
        "Statuses marked as internal are used between a command and the processes that it "
        "starts. A user's command ends with one of the others."
    )
    yield ""
    yield from markdown.table(["status", "meaning"], [list(row) for row in _STATUSES.items()])
