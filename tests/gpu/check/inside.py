"""Run `python -m anima_exp.train` with something done to it, and measure inside its process.

python inside.py REPORT [--cap-gib N] [--kill-after-save] [--paged] -- key=value ...

REPORT gets what tensors took at most, what the allocator reserved for them, and how much of the
optimizer is paged.
"""

import argparse
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=Path)
    parser.add_argument("--cap-gib", type=float, help="GPU memory that torch may reserve")
    parser.add_argument("--kill-after-save", action="store_true")
    parser.add_argument("--paged", action="store_true", help="as if the GPU could become full")
    options = parser.parse_args(sys.argv[1:split])
    sys.argv = ["train", *sys.argv[split + 1 :]]

    import torch

    from anima_exp.libraries.bitsandbytes_internals import paged_bytes
    from anima_exp.system.hardware import use_expandable_segments
    from anima_exp.training import loop

    use_expandable_segments()  # as the command does it; later CUDA has started
    if options.cap_gib:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(options.cap_gib * 2**30 / total)
    if options.kill_after_save:
        _kill_after_save(loop)
    optimizers: list[Any] = []
    _remember(loop, optimizers, paged=options.paged)
    try:
        runpy.run_module("anima_exp.train", run_name="__main__")
    finally:
        if torch.cuda.is_available():
            found = {
                "allocated_gib": torch.cuda.max_memory_allocated() / 2**30,
                "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
                "paged_bytes": sum(sum(paged_bytes(one).values()) for one in optimizers),
            }
            options.report.write_text(json.dumps(found), encoding="utf-8")


def _kill_after_save(loop: Any) -> None:
    real = loop.Loop._write_checkpoint

    def save(self: Any) -> None:
        real(self)
        os.kill(os.getpid(), signal.SIGKILL)

    loop.Loop._write_checkpoint = save


def _remember(loop: Any, optimizers: list[Any], *, paged: bool) -> None:
    real = loop.make_optimizer

    def make_optimizer(*arguments: Any, **more: Any) -> Any:
        optimizers.append(real(*arguments, **{**more, "paged": paged or more["paged"]}))
        return optimizers[-1]

    loop.make_optimizer = make_optimizer


if __name__ == "__main__":
    main()
