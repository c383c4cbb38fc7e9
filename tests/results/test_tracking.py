import socket
import time

import pytest

from anima_exp.config import TrackingMode
from anima_exp.results.trackers import wandb as tracking
from anima_exp.results.trackers import wandb_account
from anima_exp.results.trackers.base import TrackedRun
from anima_exp.results.trackers.wandb import WandB, _mode, _run_id
from anima_exp.results.trackers.wandb_account import has_key, without_keys
from anima_exp.results.tracking import Tracker


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(wandb_account, "unreachable", lambda default="": None)
    return tmp_path / "netrc"


def test_without_a_key_it_is_offline_by_itself(no_key):
    assert _mode(TrackingMode.auto) == "offline"


def test_a_key_from_the_environment_or_a_login_takes_it_online(no_key, monkeypatch):
    no_key.write_text("machine api.wandb.ai login user password secret\n")
    assert _mode(TrackingMode.auto) == "online"
    no_key.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert _mode(TrackingMode.auto) == "online"


@pytest.mark.parametrize("machine", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_a_key_for_the_cloud_is_found_under_each_of_its_names(no_key, machine):
    no_key.write_text(f"machine {machine}\n  login user\n  password 0123\n")
    assert has_key()


@pytest.mark.parametrize("chosen", ["environment", "settings file"])
def test_a_key_for_a_server_of_ones_own_is_found(no_key, monkeypatch, tmp_path, chosen):
    no_key.write_text("machine wandb.example.org:8080\n  login user\n  password 0123\n")
    assert not has_key()
    url = "https://wandb.example.org:8080"
    if chosen == "environment":
        monkeypatch.setenv("WANDB_BASE_URL", url)
    else:  # as `wandb login --host` leaves it
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "settings").write_text(f"[default]\nbase_url = {url}\n")
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://another.example.org")
    assert not has_key()


def test_wandb_offline_is_respected(no_key, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings").write_text("[default]\nmode = offline\n")
    assert _mode(TrackingMode.auto) == "offline"


def test_a_key_without_a_network_is_offline(no_key, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setattr(wandb_account, "unreachable", lambda default="": "no answer")
    assert _mode(TrackingMode.auto) == "offline"


def test_no_message_shows_a_key(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "my-own-secret")
    said = f"bad key my-own-secret or {'0a' * 20} or wandb_v1_Ab9 at http://me:pw@host/x"
    assert without_keys(said) == "bad key *** or *** or *** at http://***host/x"


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
    assert tracker.notes == {}
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_keeps_one_wandb_run(tmp_path):
    assert _run_id(tmp_path) == _run_id(tmp_path)
    (tmp_path / "other").mkdir()
    assert _run_id(tmp_path / "other") != _run_id(tmp_path)


@pytest.fixture
def online(no_key, monkeypatch, silent):
    """A key, and a server that answers the question whether it is there, and nothing else."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", silent[0])
    monkeypatch.setattr(tracking, "_FIRST_CONTACT_SECONDS", 1)
    import wandb

    wandb.teardown()  # it reads the environment once
    yield
    wandb.teardown()


def test_a_server_that_never_answers_leaves_the_run_offline(online, compose, tmp_path, capfd):
    begun = time.monotonic()
    tracker = Tracker(compose("tracking.mode=auto"), tmp_path)
    tracker.log({"step": 1, "loss": 2.0})
    tracker.finish({"heldout_loss": 1.0})
    assert time.monotonic() - begun < 15
    (kept,) = (tmp_path / "wandb").glob("offline-run-*")
    assert tracker.notes["wandb"] == f"W&B offline; later: wandb sync {kept}"
    assert list(kept.glob("*.wandb"))
    assert "0" * 40 not in "".join(capfd.readouterr())


def test_whether_a_server_answers_is_known_in_time(silent, monkeypatch):
    monkeypatch.setattr(wandb_account, "_REACH_SECONDS", 0.3)
    monkeypatch.setenv("WANDB_BASE_URL", silent[0])
    begun = time.monotonic()
    assert wandb_account.unreachable()
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", gone)
    assert "refused" in str(wandb_account.unreachable())
    assert time.monotonic() - begun < 2


def test_a_resumed_run_names_all_that_was_kept_offline(no_key, compose, tmp_path):
    config = compose("tracking.mode=offline")
    for _ in range(2):
        tracker = Tracker(config, tmp_path)
        tracker.finish()
        time.sleep(1.1)  # W&B names a folder by the second
    first, second = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert tracker.notes["wandb"] == f"W&B offline; later: wandb sync {first} {second}"
    next(first.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    assert tracking._how_to_sync(tmp_path / "wandb", _run_id(tmp_path)) == (
        f"W&B offline; later: wandb sync {second}"
    )


def test_an_end_that_the_network_holds_up_is_waited_for_in_bounds(no_key, compose, tmp_path):
    class Stuck:
        offline, id, dir, summary = False, "x", str(tmp_path / "run-1" / "files"), {}

        def finish(self, exit_code):
            time.sleep(5)

    tracker = WandB(TrackedRun(compose("tracking.mode=offline"), tmp_path, "name", {}))
    tracker._run = Stuck()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_LAST_CONTACT_SECONDS", 0.2)
        patch.setattr(tracking, "_GRACE_SECONDS", 0.1)
        begun = time.monotonic()
        tracker.finish(None, failed=False)
    assert time.monotonic() - begun < 2
    assert tracker.note == (
        f"W&B did not accept everything within 0.2 s. To send it later: wandb sync {tmp_path}/run-1"
    )
