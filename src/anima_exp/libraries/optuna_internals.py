"""The parts of Optuna that we use although its documentation does not promise them.

They are those of Optuna 5. Each function says what it uses and what a change of it would break;
tests/contracts/test_optuna.py checks every one.
"""

from typing import Any

import optuna
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import FrozenTrial


def live_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return the live trial that belongs to a frozen one, in another process than it began in.

    It needs the trial's id in the storage, `FrozenTrial._trial_id`. The constructor of Trial is
    documented, but nothing else gives its argument. Without it a killed search could not finish
    its running trials.
    """
    return optuna.Trial(study, trial._trial_id)


def enqueued_values(trial: FrozenTrial) -> Any:
    """Return the values that a waiting trial was enqueued with; None for another trial.

    `Study.enqueue_trial` keeps them as `system_attrs["fixed_params"]`. Under another name a
    failed trial would be enqueued again at every start.
    """
    return trial.system_attrs.get("fixed_params")


class NoLock(JournalFileSymlinkLock):
    """Optuna's lock around each write to a journal, where this process alone has the file.

    Its base class is not exported, so this one overrides the two methods of a lock that is.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
