"""Try all families, or those named, and write what became of them.

python -m support.families FILE [FAMILY ...]
"""

import json
import logging
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from contextlib import redirect_stdout
from os import devnull
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from support.families.small_configs import causal_families
from support.families.trial import FAILED, Result, try_family

_SECONDS = 240  # for one family


def main(file: Path, chosen: list[str]) -> int:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    import_bitsandbytes()
    import peft  # noqa: F401  # once, not in every process

    rows: dict[str, Any] = {}
    for family in chosen or causal_families():
        began = time.monotonic()
        row = _in_a_process(family)
        rows[family] = row.to_dict()
        print(f"{family:28s}{row.result:12s}{time.monotonic() - began:6.1f} s  {row.reason[:230]}",
              flush=True)  # fmt: skip
        if row.result == FAILED:
            print(*row.traceback, sep="\n", flush=True)
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    before = known.get(transformers.__version__, {}) if chosen else {}
    known[transformers.__version__] = dict(sorted((before | rows).items()))
    file.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")
    print(Counter(row["result"] for row in rows.values()))
    return 1 if any(row["result"] == FAILED for row in rows.values()) else 0


def _in_a_process(family: str) -> Result:
    """Try a family in a process of its own, since one may crash, hang, or change torch."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(family, theirs))
    process.start()
    theirs.close()
    try:
        if ours.poll(_SECONDS):
            return Result(**{"result": FAILED} | ours.recv())
        return Result(FAILED, f"it has not ended after {_SECONDS} s")
    except EOFError:
        return Result(FAILED, "its process has died")
    finally:
        process.kill()
        process.join()


def _send(family: str, to: Any) -> None:
    with TemporaryDirectory() as folder, open(devnull, "w") as nowhere, redirect_stdout(nowhere):
        to.send(try_family(family, Path(folder)).to_dict())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
