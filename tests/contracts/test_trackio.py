"""trackio still has what libraries/trackio_internals.py uses."""

import pytest

from anima_exp.libraries import trackio_internals


@pytest.fixture
def trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    return pytest.importorskip("trackio")


def test_trackio_keeps_every_row_of_a_run_with_its_step(trackio):
    with trackio_internals.quiet() as problems:
        run = trackio.init(project="contract", name="one", embed=False, auto_log_gpu=False)
        run.log({"loss": 2.0}, step=1)
        run.log({"loss": 1.0}, step=3)
        assert trackio_internals.next_step(run) == 4
        run.finish()
    assert [(row["step"], row["loss"]) for row in trackio_internals.logs_of(run)] == [
        (1, 2.0),
        (3, 1.0),
    ]
    assert problems == []


def test_trackio_warns_through_a_function_of_its_modules(trackio):
    import trackio.utils

    assert hasattr(trackio.utils, "_emit_nonfatal_warning")
