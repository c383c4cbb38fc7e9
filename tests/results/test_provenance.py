"""The record says which code made a result: its commit, if it is a checkout, and a hash."""

import subprocess
from dataclasses import replace

import pytest

from anima_exp.results import identity, provenance
from anima_exp.results.record import Record


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package of one module, taken for ours."""
    package = tmp_path / "checkout" / "src" / "anima_exp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "checkout" / "README.md").write_text("one")
    git(tmp_path / "checkout", "init", "-q")
    commit(tmp_path / "checkout")
    use(monkeypatch, package)
    return package


def use(monkeypatch, package):
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    uncached = getattr(provenance.code_hash, "__wrapped__", provenance.code_hash)
    monkeypatch.setattr(provenance, "code_hash", uncached)


def git(folder, *arguments):
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    run = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)
    return run.stdout.decode().strip()


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")


def test_only_the_package_makes_a_checkout_dirty(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert provenance.git_state() == {"commit": head, "dirty": False}
    (checkout.parents[1] / "README.md").write_text("two")
    assert provenance.git_state()["dirty"] is False
    new = checkout / "new.py"
    new.write_text("x = 1")
    assert provenance.git_state()["dirty"] is True
    new.unlink()
    (checkout / "__init__.py").write_text("x = 1")
    assert provenance.git_state()["dirty"] is True


def test_a_hook_of_another_repository_changes_nothing(checkout, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    state = provenance.git_state()
    monkeypatch.delenv("GIT_DIR")
    assert state == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize("tracked", [True, False])
def test_a_package_installed_in_another_repository_has_no_commit(checkout, monkeypatch, tracked):
    top = checkout.parents[1]
    site = top / "venv" / "lib" / "site-packages" / "anima_exp"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("")
    if tracked:
        commit(top)
    use(monkeypatch, site)
    assert provenance.git_state() == {}


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state() == {}


def test_the_hash_of_the_code_is_that_of_what_a_run_uses(checkout):
    before = provenance.code_hash()
    (checkout / "compare").mkdir()
    (checkout / "compare" / "page.py").write_text("x = 1")
    (checkout / "notes.md").write_text("x")
    assert provenance.code_hash() == before
    (checkout / "loss.py").write_text("x = 1")
    assert provenance.code_hash() != before


def record(**changes):
    found = Record(
        name="x", settings={}, scores={}, scores_before={}, steps=1, tokens=1, rows={},
        parameters={}, train_seconds=0, eval_seconds=0, peak_memory_gib=0, starts=1, finished="",
        data_fingerprint="", base_fingerprint="", versions=provenance.versions(),
    )  # fmt: skip
    return replace(found, **changes)


def test_other_code_than_the_runs_is_named(checkout):
    made = record(code=provenance.code_hash(), git=provenance.git_state())
    assert provenance.code_differs(made) is None
    assert provenance.code_differs(record()) is None, "of a record that knows no code"
    (checkout / "loss.py").write_text("x = 1")
    head = made.git["commit"][:8]
    said = provenance.code_differs(made)
    assert said == f"commit {head} then, commit {head} with changes now"
    commit(checkout.parents[1])
    new = git(checkout, "rev-parse", "HEAD")[:8]
    assert provenance.code_differs(made) == f"commit {head} then, commit {new} now"
    older = replace(made, versions={"anima-exp": "0.0.1"})
    now = provenance.versions()["anima-exp"]
    assert provenance.code_differs(older) == f"version 0.0.1 then, {now} now"
    installed = replace(made, git={})
    assert provenance.code_differs(installed) == f"files of version {now} were edited"


def test_a_version_of_the_results_enters_names_from_two_on(compose, monkeypatch):
    names = []
    for version in (1, 2, 3):
        monkeypatch.setattr(identity, "RESULTS_VERSION", version)
        names.append(identity.run_name(compose()))
    assert names[0] == "tiny-sample-61186a1f32"
    assert len(set(names)) == 3
