"""Constants that several modules share. Importing them imports no torch.

The planner needs the size of a chunk of logits, and the dropout kernel needs the hash constants.
"""

# The number of logits that `model/chunked_loss.py` computes at a time.
_ON_A_CPU = 2**24  # 64 MiB in fp32: 524 labels at a vocabulary of 32,000
# A chunk reads the whole head. At a vocabulary of 151,936 a chunk of 2**24 logits has only 110
# labels, so that the reads take longer than the products. 2**26 are 441 labels, and 256 MiB.
_ON_A_GPU = 2**26


def chunk_logits(*, gpu: bool) -> int:
    """Return how many logits (labels times vocabulary) one chunk has at most."""
    return _ON_A_GPU if gpu else _ON_A_CPU


RESOLUTION = 2**15  # a probability of dropping is rounded to 1/32,768
# The hash of `model/hashed_dropout.py`, which its kernel computes too.
COLUMN, FIRST, SECOND = -1640531527, 0x7FEB352D, -2073254261
