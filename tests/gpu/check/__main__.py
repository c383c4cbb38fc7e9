"""Check this GPU: is everything right, and how fast is it? Rows, a table and a verdict.

python tests/gpu/check                                    # everything: about nine minutes
python tests/gpu/check --parts machine kernels tiny       # some parts
# one setting alone:
python tests/gpu/check --training 13b alpaca trainer.activation_checkpointing=full
python tests/gpu/check --report a/rows.jsonl b/rows.jsonl # the report of what was measured
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [
    str(_ROOT / place) for place in ("tests/gpu", "src", "benchmarks", "benchmarks/contenders")
]

from check.program import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
