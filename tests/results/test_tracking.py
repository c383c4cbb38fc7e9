import pytest

from anima_exp.config import TrackingMode
from anima_exp.results.tracking import Tracker, _mode, _run_id


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_without_a_key_it_is_offline_by_itself(no_key):
    assert _mode(TrackingMode.auto) == "offline"


def test_a_key_from_the_environment_or_a_login_takes_it_online(no_key, monkeypatch):
    no_key.write_text("machine api.wandb.ai login user password secret\n")
    assert _mode(TrackingMode.auto) == "online"
    no_key.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert _mode(TrackingMode.auto) == "online"


def test_what_the_user_says_wins(no_key, monkeypatch):
    assert _mode(TrackingMode.online) == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert _mode(TrackingMode.auto) == "disabled"
    assert _mode(TrackingMode.offline) == "offline"


@pytest.mark.parametrize("override", ["tracking=none", "tracking.mode=auto"])
def test_a_tracker_that_is_off_does_nothing(compose, tmp_path, monkeypatch, override):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = Tracker(compose(override), tmp_path)
    tracker.log({"step": 1, "loss": 2.0})
    tracker.finish({"heldout_loss": 1.0})
    assert tracker.note is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_keeps_one_wandb_run(tmp_path):
    assert _run_id(tmp_path) == _run_id(tmp_path)
    (tmp_path / "other").mkdir()
    assert _run_id(tmp_path / "other") != _run_id(tmp_path)


def test_a_refused_login_falls_back_to_offline(compose, tmp_path, monkeypatch):
    import wandb

    real, modes = wandb.init, []

    def init(mode, **how):
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("no network")
        return real(mode=mode, **how)

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "init", init)
    tracker = Tracker(compose("tracking.mode=auto"), tmp_path)
    tracker.finish()
    assert modes == ["online", "offline"]
    assert tracker.note is not None and tracker.note.startswith("W&B offline; later: wandb sync")
