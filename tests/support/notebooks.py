"""Run notebooks without Jupyter.

    python tests/support/notebooks.py docs/notebooks/first_run.ipynb    # and store its outputs

Each notebook runs in a folder of its own, in a process that has no network.
"""

import ast
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def cells(notebook: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells of code."""
    yield from (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def executed(file: Path, folder: Path) -> dict[str, Any]:
    """Return the notebook in `file` with the outputs of running it in `folder`."""
    notebook: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    with chdir(folder):
        for count, cell in enumerate(cells(notebook), start=1):
            cell["execution_count"] = count
            cell["outputs"] = [*_outputs("".join(cell["source"]), names, count)]
    return notebook


def _outputs(source: str, names: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Run one cell; yield what it prints and the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    if text := printed.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": _lines(text)}
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        yield {
            "output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data
        }  # fmt: skip


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def shown(cell: Cell) -> str:
    """What a cell shows as text."""
    texts = [one.get("text") or one["data"]["text/plain"] for one in cell["outputs"]]
    return "\n".join("".join(lines) for lines in texts)


def differences(kept: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Compare what two runs of a notebook show: the words alike, numbers within 10 %.

    A cell with the tag `machine` shows what depends on the machine, and is not compared.
    """
    differ = []
    for before, after in zip(cells(kept), cells(found), strict=True):
        if "machine" in before["metadata"].get("tags", ()):
            continue
        pairs = [_parts(shown(before)), _parts(shown(after))]
        (words, numbers), (others, values) = pairs
        alike = words == others and len(numbers) == len(values)
        if not (alike and all(map(_close, numbers, values))):
            differ.append(f"{shown(before)}\n-- is now --\n{shown(after)}")
    return differ


def _close(kept: float, found: float) -> bool:
    return abs(kept - found) <= 0.1 * max(abs(kept), 1)


def _parts(text: str) -> tuple[list[str], list[float]]:
    number = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)"
    text = re.sub(r"\d+ (?:s|min)\b|[\d.]+ GiB", "", text)  # of this machine
    return re.sub(number, "#", text).split(), [float(one) for one in re.findall(number, text)]


def main(files: list[str]) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    for name in files:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ANIMA_EXP_CACHE"] = f"{folder}/cache"
            found = executed(Path(name).absolute(), Path(folder))
        text = json.dumps(found, indent=1, ensure_ascii=False)
        Path(name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
