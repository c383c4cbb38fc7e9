"""Forward pass, loss and backward pass of LLaMA-7B as FakeTensors on "cuda".

    python tests/gpu/fake_step.py BLOCKS CASE...      a CASE: STORAGE,PRECISION,RECOMPUTE

test_fake_cuda.py runs it, in a process of its own: torch then believes in a GPU for good. It prints
a line of JSON for each case. STORAGE is nf4, kept (nf4 with a dequantized copy), int8 or none.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main(blocks: str, *cases: str) -> None:
    import fake_cuda

    fake_cuda.install()  # before anything imports torch
    from fake_model import run

    for case in cases:
        found = run(int(blocks), *case.split(","))
        print(json.dumps({"case": case} | found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
