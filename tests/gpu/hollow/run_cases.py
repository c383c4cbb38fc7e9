"""Run the whole product on a hollow GPU: `make gpu-hollow`.

    python tests/gpu/hollow/run_cases.py --driver FOLDER --out FOLDER [--only NAME...]

A line for each case: its seconds, and ok or the reason why it failed. Its log is kept in OUT/logs.
A traceback in a log, or a warning that a user would see, is a failure. Exit status 1 if any failed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hollow_cases import CASES  # noqa: E402
from hollow_gpu import REPOSITORY, environment  # noqa: E402
from log_check import complaint, missing  # noqa: E402

LIMIT = 600  # seconds of a process without a result: it hangs


def main():
    chosen = _arguments()
    runs, driver = chosen.out.resolve(), chosen.driver
    (runs / "logs").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(runs / "cache", ignore_errors=True)  # one case keeps a snapshot there
    cases = _chosen_cases(chosen.only)
    began = time.perf_counter()
    if any("{base}" in " ".join(case.settings) for case in cases):
        subprocess.run([sys.executable, HERE / "make_base.py", runs / "base"], check=True,
                       stderr=subprocess.DEVNULL,
                       env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")})  # fmt: skip
    failed = 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        # First what needs no other case; what shares a process is one piece of work.
        for after in (False, True):
            pieces = {}
            for case in cases:
                if bool(case.after) is after:
                    pieces.setdefault(case.machine if case.process else case.name, []).append(case)
            done = [
                pool.submit(_command if piece[0].command else _shared_process, piece, runs, driver)
                for piece in pieces.values()
            ]
            failed += sum(one.result() for one in done)
    seconds = time.perf_counter() - began
    print(f"{len(cases)} cases, {failed} failed, {seconds:.0f} s; logs in {runs / 'logs'}")
    return int(failed > 0)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", type=Path, required=True, help="what build_driver.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="for runs and logs")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these cases")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    return parser.parse_args()


def _chosen_cases(names):
    """Return the named cases, and those whose folders they read; by default all."""
    by_name = {case.name: case for case in CASES}
    for name in names:
        if name not in by_name:
            sys.exit(f"There is no case {name!r}. There are: {', '.join(by_name)}.")
    wanted = set(names or by_name)
    wanted |= {by_name[name].after for name in wanted if by_name[name].after}
    return [case for case in CASES if case.name in wanted]


def _shared_process(cases, runs, driver):
    """Train the cases in one process, and the rest in another if it ends early. -> failures"""
    left, failed = [case.name for case in cases], 0
    errors = runs / "logs" / f"process_{cases[0].process}.log"
    while left:
        began = time.perf_counter()
        with errors.open("w", encoding="utf-8") as file:
            process = _start(cases[0], driver, [HERE / "in_process.py", runs, *left], stderr=file)
            with _limited(process, LIMIT * len(left)):
                for line in process.stdout:
                    found = json.loads(line)
                    failed += _report(found["name"], found["seconds"], found["reason"])
                    left.remove(found["name"])
                    began = time.perf_counter()
        if left:
            said = errors.read_text(encoding="utf-8").strip().splitlines()[-1:]
            reason = f"its process ended with status {process.returncode}: {''.join(said)[:200]}"
            failed += _report(left.pop(0), time.perf_counter() - began, reason)
    return failed


def _command(cases, runs, driver):
    """Start one command as a user does. -> failures"""
    (case,) = cases
    places = {"runs": str(runs), "base": str(runs / "base")}
    arguments = [one.format(**places) for one in case.settings]
    for pattern in case.files:
        for old in runs.glob(pattern):
            old.unlink()
    began = time.perf_counter()
    module = case.command if case.command == "pytest" else f"anima_exp.{case.command}"
    words = ["-m", module, *arguments]
    process = _start(case, driver, words, stderr=subprocess.STDOUT)
    with _limited(process, LIMIT):
        text = process.stdout.read()
    log = runs / "logs" / f"{case.name}.log"
    log.write_text(text, encoding="utf-8")
    reason = complaint(text, case.allowed) or missing(text, case.log)
    if process.returncode and not reason:
        said = text.strip().splitlines()[-1:]
        reason = f"status {process.returncode}: {''.join(said)[:200]}"
    for pattern in case.files:
        count = len(list(runs.glob(pattern)))
        if count != case.files.count(pattern):
            reason = reason or f"{count} files {pattern}, not {case.files.count(pattern)}"
    return _report(case.name, time.perf_counter() - began, reason)


def _start(case, driver, words, *, stderr):
    variables = environment(
        driver.resolve(),
        gpus=case.gpus,
        memory_mib=case.memory_mib,
        context_mib=case.context_mib,
        reuse_memory=case.reuse_memory,
    )
    quiet = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**os.environ, **variables, **quiet},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        errors="replace",
        cwd=REPOSITORY,
        start_new_session=True,  # so that _limited ends its children too
    )


@contextmanager
def _limited(process, seconds):
    """Wait for the process; end it and its children if it takes longer than `seconds`."""
    timer = Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
        process.wait()
    finally:
        timer.cancel()


def _report(name, seconds, reason):
    print(f"{name:26} {seconds:5.0f} s  {f'FAILED: {reason}' if reason else 'ok'}", flush=True)
    return int(bool(reason))


if __name__ == "__main__":
    sys.exit(main())
