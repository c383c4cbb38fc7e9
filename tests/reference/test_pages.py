"""The generated pages are those of the code, and each says all that it is to say."""

import ast
import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pytest

import anima_exp
from anima_exp.cli.commands import COMMANDS
from anima_exp.cli.explain import schemas
from anima_exp.config.catalogue import catalogue
from anima_exp.metrics.catalogue import known
from anima_exp.reference import environment, errors, files, metrics
from anima_exp.reference.pages import reference
from anima_exp.results.record import Record

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(anima_exp.__file__).parent
PAGES = reference()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_generates(name):
    kept = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert kept == PAGES[name], "run: make reference"


def test_no_other_file_is_among_the_generated_ones():
    assert {path.name for path in (DOCS / "reference").iterdir()} == set(PAGES)


@pytest.mark.parametrize(
    "error", [error for _, error in errors.tree()], ids=lambda error: error.__name__
)
def test_an_error_says_what_it_means_and_what_to_do(error):
    meaning, remedy = errors.parts(error)
    assert meaning.endswith(".") and remedy.endswith(".")


def test_the_tree_of_errors_has_every_class():
    classes = re.findall(
        r"^class ([A-Z]\w+)", (PACKAGE / "errors.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(classes) > 10
    names = [error.__name__ for _, error in errors.tree()]
    assert set(classes) <= set(names) and len(names) == len(set(names))


def test_every_metric_is_on_the_page_once():
    names = [entry.name for entries in metrics.groups().values() for entry in entries]
    assert sorted(names) == sorted(known())
    assert set(metrics.EXAMPLES) <= set(names)


def test_every_field_of_a_record_is_described():
    assert list(files.RECORD) == [
        field.name
        for field in fields(Record)
        if field.name != "folder"  # where it was read
    ]


def test_every_file_that_the_code_of_a_run_names_is_described():
    """Constants like LOG = "log.txt" in the modules of a run folder."""
    described = [*files.RUN_FOLDER, *files.CHECKPOINT, *files.SWEEP_FOLDER]
    named = set()
    for module in ("results/folder", "results/record", "results/journal", "training/checkpoint"):
        text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
        named |= set(re.findall(r'"([\w.-]+\.(?:jsonl?|txt|safetensors))"', text))
    assert {"record.json", "failure.txt", "metrics.jsonl"} <= named
    of_transformers = {"trainer_state.json", "model.safetensors", "model.safetensors.index.json"}
    unknown = {n for n in named if not any(fnmatch(n, pattern) for pattern in described)}
    assert unknown - of_transformers == set()


def read_variables():
    """NAME of every os.environ["NAME"], os.environ.get("NAME") and os.environ.setdefault(...)."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                names = [node.slice]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("os.environ."):
                names = node.args[:1]
            else:
                continue
            yield from (n.value for n in names if isinstance(n, ast.Constant))


def test_every_environment_variable_that_is_read_is_described():
    described = {name for group in environment.VARIABLES.values() for name in group}
    read = set(read_variables())
    assert {"ANIMA_EXP_CACHE", "CUDA_VISIBLE_DEVICES"} <= read
    assert read - described == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_section_with_what_it_takes_and_an_example(name):
    section = PAGES["commands.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert COMMANDS[name].what in section
    assert re.search(r"^- In: .+\.\n- Out: .+\.$", section, re.MULTILINE)
    assert re.search(rf"^anima-exp {name}\b", section, re.MULTILINE)


def test_every_setting_of_a_command_is_on_a_page():
    pages = PAGES["commands.md"] + PAGES["settings.md"]
    for schema in schemas():
        for key, entry in catalogue(schema).items():
            assert entry.group or f"| `{key}`" in pages, key
