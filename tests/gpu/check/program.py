"""The command line of the check."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from check import report
from check.parts import PARTS, python, run_parts
from check.rows import FILE, Rows, read

# By part, the modules that measure it: each has a function `measure(rows, work)`.
MODULES = {
    "machine": ["machine"],
    "kernels": ["packing", "attention", "dropout", "layers", "loss", "optimizers"],
    "tiny": ["tiny"],
    "memory": ["memory"],
    "speed": ["speed"],
    "use": ["use"],
    "trl": ["trl_speed"],
    "large": ["large"],
}
NO_GPU = (
    "This machine has no GPU that torch can use. Run the check on a machine with one, or run "
    "`make gpu-check-rehearsal`, which needs none."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing is wrong, 1 if something is, 2 if there is no GPU."""
    options = _parser().parse_args(arguments)
    out = Path(options.out)
    if options.report:
        return _report(out, [Path(one) for one in options.report], rehearsal=options.rehearsal)
    if not _has_gpu():
        print(f"anima_exp: {NO_GPU}")
        return 2
    if options.part or options.training:
        from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
        from anima_exp.system.hardware import use_expandable_segments

        use_expandable_segments()  # as every command does, before CUDA starts
        import_bitsandbytes()  # before anything else does
        work = Path(options.work or out / "work")
        if options.training:
            return _training(out, work, *options.training)
        for name in MODULES[options.part]:
            import_module(f"check.{name}").measure(Rows(out, options.part), work)
        return 0
    # A job that is stopped stops its part too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parts = [one for one in PARTS if one.name in (options.parts or [p.name for p in PARTS])]
    with tempfile.TemporaryDirectory(prefix="anima-gpu-check-") as folder:
        work = options.work or folder
        run_parts(
            parts,
            lambda part: python("--part", part.name, "--out", str(out), "--work", str(work)),
            out=out,
            seconds=options.seconds or 590 * options.patience,
            patience=options.patience,
            after=lambda: _write(out, [out / FILE], rehearsal=options.rehearsal),
        )
    return _report(out, [out / FILE], rehearsal=options.rehearsal)


def _training(out: Path, work: Path, shape: str, lengths: str, *settings: str) -> int:
    from check import speed

    out.mkdir(parents=True, exist_ok=True)
    speed.training(Rows(out, "speed"), work, shape, lengths, settings, kernels=True)
    return 0


def _report(out: Path, files: Sequence[Path], *, rehearsal: bool) -> int:
    text, wrong = _write(out, files, rehearsal=rehearsal)
    print(text)
    print(f"This report is in {out / report.FILE}, its rows are in {', '.join(map(str, files))}.")
    return 1 if wrong else 0


def _write(out: Path, files: Sequence[Path], *, rehearsal: bool) -> tuple[str, bool]:
    text, wrong = report.written(read(*files), rehearsal=rehearsal)
    out.mkdir(parents=True, exist_ok=True)
    (out / report.FILE).write_text(text, encoding="utf-8")
    return text, wrong


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make gpu-check", description="Check this GPU, and measure how fast it trains."
    )
    names = [part.name for part in PARTS]
    add = parser.add_argument
    add("--parts", nargs="+", choices=names, help="some parts; by default all")
    add(
        "--out",
        default=os.environ.get("OUT", "gpu_check"),
        help="folder of rows.jsonl, report.md and log.txt; by default $OUT, else gpu_check",
    )
    add("--seconds", type=float, help="for all parts; default: 590, times the patience")
    add("--patience", type=float, default=1, help="a factor of each part's limit, for slow GPUs")
    add("--work", help="folder of runs and caches; by default a temporary one")
    add(
        "--rehearsal",
        action="store_true",
        help="the GPU computes nothing (tests/gpu/hollow): judge no number but memory",
    )
    add("--report", nargs="+", metavar="ROWS", help="measure nothing: report these rows")
    add(
        "--training",
        nargs="+",
        metavar="VALUE",
        help="measure one setting alone: SHAPE LENGTHS key=value ..., as 7b 512 lora.dropout=0",
    )
    add("--part", choices=names, help=argparse.SUPPRESS)  # one part, in this process
    return parser
