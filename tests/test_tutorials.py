"""The commands of the tutorials work, in their order, on the tiny world and without a network.

A page marks what is run: `<!-- run on the tiny world -->` on the line before a block of shell or
Python. All marked blocks of a page are run in one folder. `<!-- run on the tiny world: fails -->`
marks the example of a mistake.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
_MARKED = re.compile(
    r"^<!-- run on the tiny world(?P<fails>: fails)? -->\n+```(?P<language>bash|shell|sh|python)\n"
    r"(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
TUTORIALS = {
    file.relative_to(REPOSITORY).as_posix(): blocks
    for file in FILES
    if (blocks := list(_MARKED.finditer(file.read_text(encoding="utf-8"))))
}
# The commands of this environment, whether its folder is on the PATH or not.
_SHELL = f"""set -euo pipefail
anima-exp() {{ {sys.executable} -m anima_exp "$@"; }}
python() {{ {sys.executable} "$@"; }}
"""


def run(block, folder):
    """The exit status and the output of one block."""
    language, text = block["language"], block["code"]
    if language == "python":
        command = [sys.executable, "-c", text]
    else:
        assert language in ("bash", "shell", "sh"), language
        command = ["bash", "-c", _SHELL + text]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "ANIMA_EXP_CACHE": str(folder.parent / "cache"),
    }
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    return ended.returncode, ended.stdout[-3000:] + ended.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS)
def test_every_marked_command_of_a_page_works(page, tmp_path):
    folder = tmp_path / "tutorial"
    folder.mkdir()
    for block in TUTORIALS[page]:
        status, output = run(block, folder)
        assert (status != 0) is bool(block["fails"]), f"{block['code']}\n{output}"
        assert "Traceback" not in output, f"{block['code']}\n{output}"


def test_the_tutorials_of_the_first_hour_are_marked():
    pages = ("README.md", "docs/get-started/quickstart.md", "docs/get-started/your-data.md")
    assert [page for page in pages if page not in TUTORIALS] == []


def test_every_marker_is_before_a_block():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        marked = len(list(_MARKED.finditer(text)))
        assert text.count("<!-- run on the tiny world") == marked, file
