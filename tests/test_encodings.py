"""A terminal of another encoding than UTF-8 ends no command."""

import io
import os
import subprocess
import sys

import pytest

from anima_exp.system.terminal import escape_unencodable


def run(code_or_module, *arguments, encoding="ascii"):
    kind = ["-m", code_or_module] if code_or_module.startswith("anima") else ["-c", code_or_module]
    return subprocess.run(
        [sys.executable, *kind, *arguments],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk"])
def test_a_letter_that_the_encoding_lacks_is_spelled_out(monkeypatch, encoding):
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, name, stream)
    escape_unencodable()
    print("수a", flush=True)
    print("수", file=sys.stderr, flush=True)
    assert sys.stdout.buffer.getvalue() == b"\\uc218a\n"
    assert sys.stderr.buffer.getvalue() == b"\\uc218\n"


def test_every_command_of_settings_prints_in_any_encoding():
    ended = run("anima_exp.train", "--cfg", "job", "tracking.group=数据")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"\\u6570\\u636e" in ended.stdout


def test_the_log_of_a_job_is_utf_8(tmp_path):
    code = f"""
from pathlib import Path
from anima_exp.sweeping.job_process import _write_to
_write_to(Path({str(tmp_path / "log")!r}))
print("数据", flush=True)
"""
    assert run(code).returncode == 0
    assert (tmp_path / "log").read_text(encoding="utf-8") == "数据\n"


def test_a_process_of_several_prints_in_any_encoding():
    code = """
import os
from anima_exp.experiment import process_entry, run
os.environ["RANK"] = "0"
run.run = lambda *a, **k: print("数据")
process_entry.read = lambda path: None
process_entry.end_with_parent = lambda wait: None  # which ends it when stdin does
process_entry.main("none", "0", str(os.pipe()[1]))
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout) == (0, b"\\u6570\\u636e\n"), ended.stderr
