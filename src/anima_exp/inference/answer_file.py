"""Read and append to a file of answers: JSON lines in FastChat's format.

A file is continued only if its answers were generated with the same settings.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anima_exp.errors import InUseError, RunError
from anima_exp.inference.questions import Question
from anima_exp.system import json_files
from anima_exp.system.atomic import atomic_write_text

Row = dict[str, Any]
Settings = Mapping[str, Any]

_ANOTHER = "The file was not changed. Choose another out=FILE."


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Lock `path` for this process.

    Raises:
        InUseError: if another process is writing the file.
        RunError: if the folder is not writable, or writing fails inside the context.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock.acquire(timeout=0):
            yield
    except Timeout as error:
        raise InUseError(
            f"{path} is being written by another process. Choose another out=FILE."
        ) from error
    except OSError as error:
        raise RunError(
            f"Cannot write to {path}: {error.strerror or error}. Free some space or choose another "
            "out=FILE. Run the same command again to continue after the answers in the file."
        ) from error


def digest(settings: Settings) -> str:
    """Return a short hash of the settings of an answer."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def check(path: Path, questions: Sequence[Question], settings: Settings) -> list[str]:
    """Return the complete lines of `path`: answers to `questions` with the same settings.

    Raises:
        RunError: if the file has other content, answers with other settings or to other questions,
            or a later version of anima-exp wrote it. The file is not changed.
    """
    if not path.exists():
        return []
    *lines, last = path.read_bytes().decode("utf-8", "replace").split("\n")
    if not lines and last and not last.startswith('{"answer_id": '):
        raise RunError(f"{path} contains something other than answers. {_ANOTHER}")
    by_id, seen = {str(question.id): question for question in questions}, set()
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        row = _row(line, where)
        _refuse_other(row, where, by_id, settings)
        if row["question_id"] in seen:
            raise RunError(f"{where} answers question {row['question_id']} twice. {_ANOTHER}")
        seen.add(row["question_id"])
    return lines


def earlier(path: Path, questions: Sequence[Question], settings: Settings) -> list[Row]:
    """Return the answers that the file has already, and prepare the file for more.

    An incomplete last line of a killed process is removed, so its question is answered again.

    Raises:
        RunError: see `check`.
    """
    lines = check(path, questions, settings)
    whole = "".join(f"{line}\n" for line in lines)
    if path.exists() and path.stat().st_size != len(whole.encode()):
        atomic_write_text(path, whole)
    return [json_files.parse(line) for line in lines]


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append answers to the file, and flush them to the disk."""
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _row(line: str, where: str) -> Row:
    try:
        row = json_files.parse(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not {"question_id", "question", "metadata", "text"} <= set(row):
        raise RunError(f"{where} is not an answer that anima-exp wrote. {_ANOTHER}")
    json_files.refuse_newer(row, where, json_files.ANSWERS)
    kinds = {"question_id": int | str, "text": str, "tokens": int, "finish": str}
    if any(key in row and not isinstance(row[key], kind) for key, kind in kinds.items()):
        raise RunError(f"{where} is not an answer that anima-exp wrote. {_ANOTHER}")
    return row


def _refuse_other(row: Row, where: str, by_id: Mapping[str, Question], settings: Settings) -> None:
    then = row["metadata"] if isinstance(row["metadata"], dict) else {}
    differ = [key for key in {**settings, **then} if settings.get(key) != then.get(key)]
    if differ:
        pairs = "; ".join(
            f"{key}={_shown(settings.get(key))} now, {_shown(then.get(key))} in the file"
            for key in differ[:3]
        )
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise RunError(f"{where} was generated with other settings: {pairs}{more}. {_ANOTHER}")
    question = by_id.get(str(row["question_id"]))
    if question is None:
        raise RunError(
            f"{where} answers question {row['question_id']}, which is not among the questions. "
            f"{_ANOTHER}"
        )
    earlier = question.conversation and question.conversation.as_dicts()
    if question.text != row["question"] or earlier != row.get("messages"):
        raise RunError(f"{where}: the text of question {question.id} has changed. {_ANOTHER}")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 60 else f"{text[:59]}…"
