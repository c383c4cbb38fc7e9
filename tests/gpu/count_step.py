"""Count what one optimizer step asks of a GPU, by phase: the training loop itself, nothing copied.

The phases are told apart from outside, by what any loop must do: it reads the rows of a batch,
calls the model's embedding, torch.autograd.backward, and the optimizer.
"""

import contextlib
import tempfile
import time
from collections import Counter as Tally
from functools import partial
from pathlib import Path

import numpy as np
import torch
from count_models import random_base
from random_training import loaded_run, loop_over
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from true_shapes import synthetic_rows

from anima_exp.distributed.world import SINGLE_PROCESS
from anima_exp.planner.memory import GIB
from anima_exp.system.signals import StopRequest
from anima_exp.training.stop import StopAfterStep

PHASES = ("forward and loss", "backward", "clip", "optimizer", "rest")
COUNTED = ("launches", "waits", "h2d", "d2h", "d2d")  # names of the driver's counts
BATCH = 16
WARM_STEPS = 2  # they fill the optimizer's states and compile kernels


class _Counted(Exception):
    """Enough steps were taken."""


class Phases:
    """Adds up the counts of each phase."""

    def __init__(self, counter):
        self.counter = counter
        self.counts, self.kernels = {}, {}
        self.phase, self.counting = "rest", False

    def enter(self, phase, *, instead_of=None):
        """End the phase of now and begin `phase`; the one of now may turn out as another's part."""
        found, seconds = self.counter.take(), time.process_time()
        if self.counting:
            self._add(instead_of or self.phase, found, 1e3 * (seconds - self.since))
        self.phase, self.since = phase, seconds

    def _add(self, phase, found, milliseconds):
        kernels = found["kernels"]
        products = sum(count for name, count in kernels.items() if name.startswith("gemm"))
        numbers = {name: found[name] for name in COUNTED if name in found}
        numbers |= {"products": products, "cpu_ms": milliseconds}
        self.counts.setdefault(phase, Tally()).update(numbers)
        self.kernels.setdefault(phase, Tally()).update(kernels)


class _Rows:
    """The rows of a batch again and again: `begin` is called with each step's number."""

    def __init__(self, rows, begin):
        self.rows, self.begin, self.read = rows, begin, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        if self.read % BATCH == 0:
            self.begin(self.read // BATCH)
        self.read += 1
        return self.rows[number % BATCH]


def count_step(name, counter, *settings):
    """Return what one step of model `name` asks for: counts and kernels by phase, in a dict."""
    phases = Phases(counter)
    rows = synthetic_rows("alpaca", BATCH)
    config, loaded = loaded_run(
        partial(random_base, name), rows, settings, batch=BATCH, cache=Path("none")
    )
    waits = Tally()

    def begin(step):
        phases.enter("forward and loss")
        phases.counting = step == WARM_STEPS
        if phases.counting:
            counter.watch_waits()
        if step > WARM_STEPS:
            waits.update(counter.waits)
            raise _Counted

    with tempfile.TemporaryDirectory() as folder, _watched(phases, loaded.model):
        order = np.arange(BATCH * (WARM_STEPS + 2))
        again = _Rows(rows, begin)
        loop = loop_over(again, order, config, loaded, folder=Path(folder), log=lambda line: None)
        with contextlib.suppress(_Counted):
            loop.train(None, StopAfterStep(SINGLE_PROCESS, StopRequest()), until=None)
    tokens = int(rows.lengths.sum())
    peak, reserved = (
        of() / GIB for of in (torch.cuda.max_memory_allocated, torch.cuda.max_memory_reserved)
    )
    about = (
        f"{name}: {BATCH} rows, {tokens} tokens, {loaded.execution}; "
        f"allocated {peak:.2f} GiB, reserved {reserved:.2f} GiB"
    )
    return {"about": about, "counts": phases.counts, "kernels": phases.kernels, "waits": waits}


@contextlib.contextmanager
def _watched(phases, model):
    """Begin a phase wherever the training loop does what only this phase does."""
    backward = torch.autograd.backward
    depth = 0

    def watched_backward(*args, **kwargs):
        nonlocal depth
        if depth == 0:
            phases.enter("backward")
        depth += 1
        try:
            return backward(*args, **kwargs)
        finally:
            depth -= 1
            if depth == 0:
                phases.enter("clip")

    def next_pass(*_):
        if depth == 0:  # a second micro-batch: what came after the backward pass prepared it
            phases.enter("forward and loss", instead_of="forward and loss")

    hooks = [
        model.get_input_embeddings().register_forward_pre_hook(next_pass),
        register_optimizer_step_pre_hook(lambda *_: phases.enter("optimizer")),
        register_optimizer_step_post_hook(lambda *_: phases.enter("rest")),
    ]
    torch.autograd.backward = watched_backward
    try:
        yield
    finally:
        torch.autograd.backward = backward
        for hook in hooks:
            hook.remove()
