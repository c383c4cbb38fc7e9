"""An adapter to fold into its base: onto which weights, how they are stored, what is proved."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.model import Precision
from anima_exp.config.use import UseConfig


class Onto(StrEnum):
    """Which weights of the base the adapter is added to."""

    base = "base"  # its own, in 16 bits: the better model where NF4 cost the base something
    dequantized = "dequantized"  # those that it was trained on: the same model to rounding


@dataclass
class MergeConfig(UseConfig):
    """What `python -m anima_exp.merge` may be told."""

    out: str | None = None  # the folder to make
    onto: Onto = Onto.base
    dtype: Precision | None = None  # of the weights; null = the base's own, if that has 16 bits
    shard_gib: float = 4.0  # of one file; a merge holds one of them in memory
    prove: bool = True  # measure the merged model before it is moved to `out`
    proof_rows: int = 256  # held-out rows to measure on, at most
    proof_tokens: int = 2048  # label tokens of these, at most; each keeps a whole distribution
    max_divergence: float | None = None  # nats per token; null = see conf/merge.yaml
