"""The table of cases for a hollow GPU is complete, and what judges their logs can fail."""

import ast
import sys
from pathlib import Path

import pytest

from anima_exp.config import ActivationCheckpointing, OptimizerName, Precision, Quantization

HOLLOW = Path(__file__).parent / "hollow"
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def hollow(monkeypatch):
    """The modules in tests/gpu/hollow, by name."""
    monkeypatch.syspath_prepend(str(HOLLOW))
    return lambda name: sys.modules.get(name) or __import__(name)


def chosen(cases, key, default):
    """Every value that the cases give a setting."""
    settings = [dict(one.partition("=")[::2] for one in case.settings) for case in cases]
    return {values.get(key, default) for values in settings}


@pytest.mark.parametrize(
    ("key", "default", "values"),
    [
        ("quant", "nf4", Quantization),
        ("trainer.activation_checkpointing", "", ActivationCheckpointing),
        ("optimizer", "paged_adamw_32bit", OptimizerName),
        ("trainer.precision", "", Precision),
    ],
)
def test_every_value_of_a_setting_is_tried(hollow, key, default, values):
    cases = hollow("hollow_cases").CASES
    assert {one.value for one in values} <= chosen(cases, key, default)


def test_a_case_follows_the_one_whose_folder_it_reads(hollow):
    names = [case.name for case in hollow("hollow_cases").CASES]
    assert len(set(names)) == len(names) > 20
    for case in hollow("hollow_cases").CASES:
        assert not case.after or names.index(case.after) < names.index(case.name)


def test_cases_that_share_a_process_see_the_same_machine(hollow):
    machines = {}
    for case in hollow("hollow_cases").CASES:
        assert bool(case.process) != bool(case.command), case.name
        if case.process:
            machines.setdefault(case.process, set()).add(case.machine)
    assert [name for name, found in machines.items() if len(found) > 1] == []


def test_every_check_that_a_hollow_gpu_switches_off_exists():
    """Without torch: the function is looked for in the module's source."""
    tree = ast.parse((HOLLOW / "site" / "sitecustomize.py").read_text(encoding="utf-8"))
    table = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHECKS_OF_NUMBERS"
    )
    assert table
    for module, names in table.items():
        path = SOURCE / f"{module.replace('.', '/')}.py"
        defined = [node.name for node in ast.parse(path.read_text("utf-8")).body
                   if isinstance(node, ast.FunctionDef)]  # fmt: skip
        imported = [alias.name for node in ast.parse(path.read_text("utf-8")).body
                    if isinstance(node, ast.ImportFrom) for alias in node.names]  # fmt: skip
        assert set(names) <= {*defined, *imported}, module


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("step 1\nTraceback (most recent call last):\n  File x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("a.py:3: UserWarning: something", "a.py:3: UserWarning: something"),
        ("[W CUDACachingAllocator.cpp:39] failed", "[W CUDACachingAllocator.cpp:39] failed"),
        ("[rank1]:[W1128 12:00:00.1 x.cpp:1] y", "[rank1]:[W1128 12:00:00.1 x.cpp:1] y"),
        ("torch._dynamo hit config.recompile_limit", "torch._dynamo hit config.recompile_limit"),
        ("op 'rope' could not be imported", "op 'rope' could not be imported"),
        ("run        a\nstep 1/2  loss 0.0000\nheldout_loss  0.0000  0.0000", ""),
    ],
)  # fmt: skip
def test_a_log_with_a_traceback_or_a_warning_is_a_failure(hollow, log, found):
    assert hollow("log_check").complaint(log) == found


def test_other_complaints_are_counted_and_one_that_is_repeated_is_not(hollow):
    log = "a: UserWarning: x\na: UserWarning: x\n[W a.cpp:1] y\nop z could not be imported\n"
    assert hollow("log_check").complaint(log) == "a: UserWarning: x (and 2 others)"


def test_a_line_that_a_case_cannot_be_without_is_no_failure(hollow):
    complaint = hollow("log_check").complaint
    log = "[W1129 01:39 Allocator.cpp:508] no memory\nb: UserWarning: y"
    assert complaint(log, ("Allocator.cpp",)) == "b: UserWarning: y"
    assert complaint(log).startswith("[W1129")


def test_a_log_without_an_expected_text_is_a_failure(hollow):
    missing = hollow("log_check").missing
    assert missing("base kept in x", ("kept in",)) == ""
    assert missing("base", ("kept in",)) == "its log does not say 'kept in'"
