"""What libraries/triton_internals.py says of Triton is true, and known before a kernel runs."""

import inspect
import shutil

import pytest

from anima_exp.libraries import triton_internals as internals


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine(programs, headers) -> what lacks on a machine that has only these."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CPATH", raising=False)
    monkeypatch.delenv("C_INCLUDE_PATH", raising=False)
    monkeypatch.setattr(internals.sys, "platform", "linux")

    def _machine(*programs, headers=True):
        (tmp_path / "Python.h").unlink(missing_ok=True)
        if headers:
            (tmp_path / "Python.h").touch()
        monkeypatch.setattr(internals.sysconfig, "get_paths", lambda scheme: {"include": tmp_path})
        monkeypatch.setattr(
            internals.shutil, "which", lambda name: name if name in programs else None
        )
        return internals._compiler_problem()

    return _machine


def test_a_compiler_and_pythons_headers_are_enough(machine):
    assert machine("gcc") is None
    assert machine("clang") is None


def test_a_machine_without_a_compiler_is_told_what_to_install(machine):
    assert machine() == "Triton finds no C compiler (install gcc, or set CC to a compiler)"


def test_the_compiler_that_cc_names_is_the_one_that_counts(machine, monkeypatch):
    monkeypatch.setenv("CC", "icx")
    assert machine("icx") is None
    assert machine("gcc") == (
        "CC=icx is not a program, and Triton compiles with it (unset or correct CC)"
    )


def test_headers_may_be_where_the_compiler_is_told_to_look(machine, monkeypatch, tmp_path):
    assert machine("gcc", headers=False) == (
        f"Triton finds no Python.h in {tmp_path} (install python3-dev or python3-devel)"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "Python.h").touch()
    monkeypatch.setenv("CPATH", f"/nowhere:{elsewhere}")
    assert machine("gcc", headers=False) is None


def test_without_triton_there_is_no_trial(monkeypatch):
    monkeypatch.setattr(internals, "find_spec", lambda name: None)
    found = internals.triton_problem.__wrapped__()
    assert found == "Triton is not installed (pip install triton)"


def test_triton_looks_for_a_compiler_where_we_do(monkeypatch, tmp_path):
    build = pytest.importorskip("triton.runtime.build", reason="needs triton")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="Failed to find C compiler"):
        build._build("nothing", "nothing.c", str(tmp_path), [], [], [], [])


def test_tritons_driver_is_found_where_we_look():
    module = pytest.importorskip("triton.runtime.driver", reason="needs triton")
    assert isinstance(inspect.getattr_static(type(module.driver), "active"), property)
