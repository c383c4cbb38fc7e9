"""Store every verdict in OUT/store/verdicts.jsonl, one line each, as it arrives.

Lines are only appended. If two lines have the same key, the later one counts, so an unparsed
verdict that was requested again stays in the file.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from anima_exp.errors import DataError, InUseError, RunError
from anima_exp.judging.calls import JudgeRequest, Plan
from anima_exp.judging.verdict import row
from anima_exp.system import json_files
from anima_exp.system.atomic import atomic_write_text

Row = dict[str, Any]


@dataclass
class Store:
    """The stored verdicts by key, locked while `with Store(folder) as store:` lasts.

    An incomplete last line, which a crash can leave, is removed.

    Raises:
        InUseError: if another process uses the folder.
        RunError: if the folder cannot be written.
        DataError: if another line is damaged.
    """

    folder: Path
    rows: dict[str, Row] = field(default_factory=dict)
    cut_short: int = 0  # removed incomplete lines: 0 or 1
    _file: FileIO | None = None

    @property
    def path(self) -> Path:
        return self.folder / "store" / "verdicts.jsonl"

    def __enter__(self) -> "Store":
        self._lock = FileLock(self.folder / ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InUseError(
                f"out={self.folder} is in use by another process. Wait for it, or give "
                "another out=FOLDER."
            ) from error
        except OSError as error:
            raise not_written(self.folder, error) from error
        try:
            self._load()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
        self._lock.release()

    def add(self, row: Row) -> None:
        """Append a verdict. Raise RunError if the disk is full or fails; earlier lines are kept."""
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            if self._file is None:
                self._file = FileIO(self.path, "a")
            while line:  # usually one write; a full disk accepts only a part
                line = line[self._file.write(line) :]
        except OSError as error:
            raise not_written(self.folder, error) from error
        self._know(row)

    def _know(self, row: Row) -> None:
        _check(row)
        self.rows[row["key"]] = row

    def _load(self) -> None:
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, end, rest = content.rpartition(b"\n")
        if rest:  # incomplete, so its verdict is requested again
            self.cut_short = 1
            with self.path.open("r+b") as file:
                file.truncate(len(whole) + len(end))
        for number, line in enumerate(whole.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json_files.parse(line)
                where = f"{self.path}, line {number}"
                json_files.refuse_newer(row, where, json_files.VERDICTS)
                self._know(row)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(
                    f"{self.path}, line {number}: the line is not a readable verdict. Delete the "
                    "line and run the same command again to request it."
                ) from error


def read_only(folder: Path) -> dict[str, Row]:
    """Return the stored verdicts by key, without lock or repair, for a dry run.

    Lines that cannot be read are left out here. A real run reports them.
    """
    path, rows = Store(folder).path, {}
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json_files.parse(line)
            where = f"{path}, line {number}"
            json_files.refuse_newer(row, where, json_files.VERDICTS)
            _check(row)
            rows[row["key"]] = row
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return rows


def _check(row: Any) -> None:
    """Raise ValueError, TypeError or KeyError unless the row is a stored verdict."""
    key, parsed, score, text = row["key"], row["parsed"], row["score"], row["text"]
    if not isinstance(key, str) or not isinstance(parsed, bool) or not isinstance(text, str):
        raise TypeError
    for one in score if isinstance(score, list) and len(score) == 2 else [score]:
        if isinstance(one, bool) or not isinstance(one, int | float):
            raise TypeError


def not_written(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"Cannot write to out={folder}: {error.strerror}. Stored verdicts are kept. Free some "
        "space or give another out=FOLDER, then run the same command again to resume."
    )


# The files OUT/A-vs-B-JUDGE-KIND.jsonl, one for each pair and order, each written atomically. A
# file holds one verdict per match, for the current texts and settings. Verdicts for other texts and
# settings are only in the store.


_LONGEST_NAME_BYTES = 80  # a file name of 255 bytes holds two names, the judge and the kind


def publish(plan: Plan, stored: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write the file of every pair and order that has a verdict, and return the paths.

    Raises:
        RunError: if the folder cannot be written.
    """
    by_file: dict[Path, list[JudgeRequest]] = defaultdict(list)
    for call in plan.calls:
        if call.key in stored:
            by_file[folder / file_name(call)].append(call)
    for path, calls in by_file.items():
        rows = (row(call, stored[call.key]) for call in calls)
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        try:
            atomic_write_text(path, text)
        except OSError as error:
            raise not_written(folder, error) from error
    return list(by_file)


def file_name(call: JudgeRequest) -> str:
    first, second = call.match.first.model, call.match.second.model
    return f"{_plain(first)}-vs-{_plain(second)}-{_plain(call.judge)}-{call.kind.value}.jsonl"


def _plain(name: str) -> str:
    """Return a model's name for a file name; a changed name gets a hash of the original."""
    plain = re.sub(r"[^\w.+=-]+", "-", name).strip("-.")
    short = plain.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    if short == name:
        return name
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
