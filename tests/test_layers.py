"""Imports point down: a module may use what stands above it in this list, never below."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import anima_exp

LAYERS = [
    {"errors", "events"},
    {"system"},
    {"config"},
    {"libraries", "metrics"},
    {"display", "distributed", "tiny"},
    {"results"},
    {"data"},
    {"model"},
    {"inference", "planner", "training"},
    {"cli", "diagnostics", "evals", "tournament"},
    {"comparison", "judging", "model_card"},
    {"experiment", "inspection", "merging", "publishing"},
    {"sweeping"},
    {"api"},
    {"reference"},
    # The commands.
    {"train", "plan", "inspect_data", "evaluate", "generate", "judge", "elo", "compare"},
    {"merge", "publish", "self_check", "list_runs", "show_run", "diff_runs", "doctor"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# `python -m anima_exp.data` is an entry point that happens to live inside a stage.
ENTRY_POINTS = {"data/__main__.py"}
PACKAGE = Path(anima_exp.__file__).parent


def statements(path):
    """Every statement of a file that runs: not the imports under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    }
    return [node for node in ast.walk(tree) if id(node) not in for_types]


def uses(path):
    for node in statements(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("anima_exp"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            named = [alias.name.split(".") for alias in node.names]
            yield from [parts[1] for parts in named if parts[0] == "anima_exp" and parts[1:]]


def upward(path, home):
    return [used for used in uses(path) if used != home and RANK[used] >= RANK[home]]


def test_imports_point_down():
    files = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]
    assert len(files) > 30
    found = []
    for path in files:
        relative = path.relative_to(PACKAGE).as_posix()
        if relative not in ENTRY_POINTS:
            home = relative.split("/")[0].removesuffix(".py")
            found += [f"{relative} imports {used}" for used in upward(path, home)]
    assert found == []


def test_the_check_would_notice(tmp_path):
    (tmp_path / "module.py").write_text("from anima_exp.experiment.run import run\n")
    assert upward(tmp_path / "module.py", "data") == ["experiment"]


def files_used(root):
    """Which files of a package each file imports, also inside functions."""
    modules = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts): path
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
    }
    used = {name: set() for name in modules}
    for name, path in modules.items():
        for node in statements(path):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
                used[name] |= modules.keys() & set(names)
            elif isinstance(node, ast.Import):
                used[name] |= modules.keys() & {alias.name for alias in node.names}
    return used


def test_no_file_imports_itself_through_others():
    used = files_used(PACKAGE)
    assert len(used) > 300
    order = [*TopologicalSorter(used).static_order()]
    assert order.index("anima_exp.errors") < order.index("anima_exp.train")


def test_a_circle_would_be_noticed(tmp_path):
    package = tmp_path / "house"
    package.mkdir()
    (package / "one.py").write_text("from house.two import b\n")
    (package / "two.py").write_text("def b():\n    from house import one\n    return one\n")
    with pytest.raises(CycleError):
        [*TopologicalSorter(files_used(package)).static_order()]


def test_no_file_is_too_long_to_read():
    long = {
        p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300
    }
    assert long == {}
