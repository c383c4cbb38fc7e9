"""Optuna still has what libraries/optuna_internals.py uses; a test names each part."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from anima_exp.libraries.optuna_internals import NoLock, enqueued_values, live_trial


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study()


def test_a_frozen_trial_carries_the_id_that_makes_it_live_again(study):
    begun = study.ask()
    begun.suggest_float("x", 0, 1)
    (frozen,) = study.get_trials()
    again = live_trial(study, frozen)
    assert again.params == begun.params
    study.tell(again, 1.0)
    assert study.trials[0].state is TrialState.COMPLETE


def test_an_enqueued_trial_carries_its_values_as_fixed_params(study):
    study.enqueue_trial({"x": 0.5})
    study.ask()
    study.enqueue_trial({"x": 0.25})
    assert enqueued_values(study.trials[1]) == {"x": 0.25}


def test_a_trial_that_was_not_enqueued_has_no_values(study):
    study.ask()
    assert enqueued_values(study.trials[0]) is None


def test_a_journal_is_written_through_the_lock_that_it_is_given(tmp_path):
    file = str(tmp_path / "study.jsonl")
    acquired = []

    class Lock(NoLock):
        def acquire(self):
            acquired.append(True)
            return super().acquire()

    optuna.create_study(storage=JournalStorage(JournalFileBackend(file, Lock(file))))
    assert acquired
    assert [path.name for path in tmp_path.iterdir()] == ["study.jsonl"]
