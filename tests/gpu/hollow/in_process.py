"""Train several cases one after the other in this process, each with a log of its own.

    python in_process.py RUNS NAME...

A line of JSON on stdout for each case: name, seconds, and the reason why it failed, if it did.
"""

import gc
import json
import os
import shutil
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import hydra
import torch
from hollow_cases import CASES
from log_check import complaint, missing
from torch.optim.optimizer import register_optimizer_step_post_hook

from anima_exp.cli.compose import parse, register_schema
from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import RunPaused
from anima_exp.events import Warned, listening
from anima_exp.experiment.run import run
from anima_exp.libraries.quiet import quiet_libraries
from anima_exp.results.record import Record
from anima_exp.system.paths import shipped

LARGE = 100_000  # elements from which bitsandbytes pages a state
PAGED = {}  # bytes of large optimizer states after the last step, by whether they are paged


def main(runs, *names):
    results = os.fdopen(os.dup(1), "w")
    register_optimizer_step_post_hook(_look_at_states)
    register_schema()
    for name in names:
        case = next(one for one in CASES if one.name == name)
        began = time.perf_counter()
        log = Path(runs) / "logs" / f"{name}.log"
        with _written_to(log):
            reason = _attempt(case, Path(runs))
        text = log.read_text(encoding="utf-8", errors="replace")
        reason = reason or complaint(text, case.allowed) or missing(text, case.log)
        seconds = time.perf_counter() - began
        print(json.dumps({"name": name, "seconds": seconds, "reason": reason}), file=results)
        results.flush()


@contextmanager
def _written_to(log):
    """Everything that this process writes goes to `log`, whichever language wrote it."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        for one in (file, *kept):
            os.close(one)


def _attempt(case, runs):
    """Run the case; return why it failed, or an empty text."""
    try:
        return _train(case, runs)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]


def _train(case, runs):
    folder = runs / case.name
    shutil.rmtree(folder, ignore_errors=True)
    places = {"runs": str(runs), "base": str(runs / "base")}
    overrides = [one.format(**places) for one in case.settings]
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        config = parse(hydra.compose("train", overrides=[*overrides, f"run_dir={folder}"]))
    quiet_libraries()
    view, warnings = TerminalView(), []

    def listen(event):
        if isinstance(event, Warned):
            warnings.append(event.text)
        view(event)

    PAGED.clear()
    with listening(listen):
        if case.pause_at:
            try:
                run(config, until=case.pause_at)
            except RunPaused as pause:
                print(pause)
            print("--- the same command again")
            _free()
        run(config)
    _free()
    if warnings:
        return f"it warns: {warnings[0]}"
    return _unlike(Record.load(folder), case)


def _free():
    """Give back the memory of a run, as the end of its process would."""
    gc.collect()  # a training loop and its step refer to each other
    torch.cuda.empty_cache()


def _unlike(record, case):
    """Return what of the record is not as the case says."""
    if "NVIDIA" not in record.hardware.get("gpu", ""):
        return f"it ran on {record.hardware}"
    for key, wanted in case.record.items():
        found = record
        for part in key.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        fits = found in wanted if isinstance(wanted, range) else found == wanted
        if not fits:
            return f"its record has {key} = {found}, not {wanted}"
    if case.paged is not None:
        others = PAGED.get(not case.paged, 0)
        if others or not PAGED.get(case.paged):
            return f"optimizer states: {PAGED.get(True, 0)} bytes paged, {PAGED.get(False, 0)} not"
    return ""


def _look_at_states(optimizer, *_):
    PAGED.clear()
    for states in optimizer.state.values():
        for state in states.values():
            if torch.is_tensor(state) and state.numel() >= LARGE:
                paged = bool(getattr(state, "is_paged", False))
                PAGED[paged] = PAGED.get(paged, 0) + state.nbytes


if __name__ == "__main__":
    main(*sys.argv[1:])
