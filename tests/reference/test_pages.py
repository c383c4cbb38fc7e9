"""The generated pages are those of the code, and each says all that it is to say."""

import ast
import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pytest

import anima_exp
from anima_exp.config.evals import TAKEN
from anima_exp.reference import commands, environment, errors, files, metrics
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
    assert sorted(error.__name__ for _, error in errors.tree()) == sorted(classes)


def test_every_score_and_logged_value_is_described():
    described = {*metrics.scores(), *metrics.LOGGED}
    assert set(TAKEN) - described <= {"step", "seconds"} | {"choices_micro"}


def test_every_field_of_a_record_is_described():
    assert list(files.RECORD) == [field.name for field in fields(Record)]


def test_every_file_that_the_code_of_a_run_names_is_described():
    """Constants like LOG = "log.txt" in the modules of a run folder."""
    described = [*files.RUN_FOLDER, *files.CHECKPOINT]
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


def test_every_command_has_a_section_with_an_example():
    page = PAGES["commands.md"]
    for command in commands.COMMANDS:
        assert f"\n## {command.name}\n" in page
        assert re.search(rf"^anima-exp {command.name} ", page, re.MULTILINE), command.name


def test_every_module_that_is_a_program_has_a_section():
    programs = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^    (command\(|sys\.exit\(main\()", text, re.MULTILINE):
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            programs.add(".".join(["anima_exp", *(one for one in parts if one != "__main__")]))
    assert len(programs) > 8
    others = {"anima_exp.experiment.process_entry", "anima_exp.data"}
    assert {command.module for command in commands.COMMANDS} == programs - others
