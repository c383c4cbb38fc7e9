"""What a user installs: the wheel carries conf/ and sweeps/, and runs from any directory."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel installs, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(installed, cwd, *overrides):
    # Without `site` (-S) the editable install of this checkout is out of sight.
    libraries = sysconfig.get_paths()["purelib"]
    code = (
        f"import runpy, sys; sys.path[:0] = [{str(installed)!r}, {libraries!r}];"
        "runpy.run_module('anima_exp.train', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-S", "-P", "-c", code, *overrides]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_the_wheel_holds_settings_sweeps_and_the_tiny_base(installed):
    package = installed / "anima_exp"
    for part in (
        "conf/train.yaml",
        "sweeps/demo.yaml",
        "tiny/base/model.safetensors",
        "data/chat/jinja/chatml.jinja",
        "display/assets/page.css",
        "display/templates/page.html.jinja",
        "comparison/page/templates/comparison.html.jinja",
        "tournament/page/templates/tournament.html.jinja",
        "tournament/page/scripts/fields.js",
        "../hydra_plugins/_anima_exp.py",
    ):
        assert (package / part).is_file(), part
    inside = {p.relative_to(package / "conf") for p in (package / "conf").rglob("*.yaml")}
    outside = {p.relative_to(REPOSITORY / "conf") for p in (REPOSITORY / "conf").rglob("*.yaml")}
    assert inside == outside
    assert not list(installed.rglob("test_*"))


def test_the_wheel_composes_from_any_directory(installed, tmp_path):
    ended = run(installed, tmp_path, "model=guanaco33b", "data=belle_merge", "--cfg", "job")
    assert ended.returncode == 0, ended.stderr
    assert "timdettmers/guanaco-33b-merged" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_lists_its_sweeps(installed, tmp_path):
    ended = run(installed, tmp_path, "sweep=nothing")
    assert "There are: by_hand, appendix_b4" in ended.stderr


def test_the_wheel_checks_a_whole_sweep(installed, tmp_path):
    ended = run(installed, tmp_path, "-m", "sweep=demo", "dry_run=true")
    assert ended.returncode == 0, ended.stderr
    assert "runs    12: 12 new" in ended.stdout
    assert list(tmp_path.iterdir()) == []
