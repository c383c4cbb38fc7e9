"""A step that nothing can be learnt from ends the run, with the reason that is the case."""

import math

import pytest

from anima_exp.errors import TrainingError
from anima_exp.training.loop import check_step

DIVERGED = "The run has diverged: lower optimizer.learning_rate"


@pytest.mark.parametrize(
    ("step", "loss", "norm", "labels", "message"),
    [
        (2, math.nan, 1.0, True, f"Step 2: the loss is nan. {DIVERGED}"),
        (2, math.inf, None, True, f"Step 2: the loss is inf. {DIVERGED}"),
        (2, 3.9, math.inf, True, f"Step 2: the gradient is not finite (norm inf). {DIVERGED}"),
        (2, 3.9, math.nan, True, f"Step 2: the gradient is not finite (norm nan). {DIVERGED}"),
        (2, 3.9, 0.0, True, "Step 2: every gradient is exactly 0, unlike in the step before."),
        (2, 3.9, 0.0, True, DIVERGED),
        (2, 0.0, 0.0, False, "Step 2: no row of the batch has a label"),
        (1, 3.9, 0.0, True, "Step 1: no trained weight has a gradient: the adapter is cut off"),
    ],
)
def test_a_step_without_a_use_says_why(step, loss, norm, labels, message):
    with pytest.raises(TrainingError) as error:
        check_step(step, loss, norm=norm, labels=labels)
    assert message in str(error.value)


def test_a_step_that_teaches_passes():
    check_step(1, 3.9, norm=1.0, labels=True)
    check_step(2, 3.9, norm=None, labels=True)  # fp16: the loss scaler may skip it
