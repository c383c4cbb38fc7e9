"""A run counts as running while its lock is held, and looking does not take the lock."""

from filelock import FileLock

from anima_exp.inspection.liveness import LOCK, OWNER, running_process


def test_a_lock_without_an_owner_is_not_looked_at(tmp_path):
    with FileLock(tmp_path / LOCK):
        assert running_process(tmp_path) is None


def test_the_owner_of_a_held_lock_is_returned(tmp_path):
    (tmp_path / OWNER).write_text("process 1 on here")
    with FileLock(tmp_path / LOCK):
        assert running_process(tmp_path) == "process 1 on here"
    assert running_process(tmp_path) is None


def test_a_lock_that_was_looked_at_can_be_taken(tmp_path):
    (tmp_path / OWNER).write_text("process 1 on here")
    (tmp_path / LOCK).write_text("")
    assert running_process(tmp_path) is None
    with FileLock(tmp_path / LOCK).acquire(timeout=0):
        pass
