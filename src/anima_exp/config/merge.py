"""An adapter to fold into its base: onto which weights, how they are stored, what is proved."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.model import Precision
from anima_exp.config.setting import setting
from anima_exp.config.use import UseConfig


class Onto(StrEnum):
    """Which weights of the base the adapter is added to."""

    base = "base"  # its own, in 16 bits: the better model where NF4 cost the base something
    dequantized = "dequantized"  # those that it was trained on: the same model to rounding


@dataclass
class MergeConfig(UseConfig):
    """What `python -m anima_exp.merge` may be told."""

    out: str | None = setting(None, "The folder to make.")
    onto: Onto = setting(Onto.base, "Which weights of the base the adapter is added to.")
    dtype: Precision | None = setting(
        None, "Type of the merged weights; null = the base's own, if that has 16 bits."
    )
    shard_gib: float = setting(
        4.0, "Size of one file; a merge holds one of them in memory.", unit="GiB", above=0
    )
    prove: bool = setting(True, "Measure the merged model before it is moved to out.")
    proof_rows: int = setting(
        256, "Measure on at most this many held-out rows.", unit="rows", above=0
    )
    proof_tokens: int = setting(
        2048,
        "Measure on at most this many label tokens; each keeps a whole distribution.",
        unit="tokens",
        above=0,
    )
    max_divergence: float | None = setting(
        None,
        "Largest divergence from the trained model; null = see conf/merge.yaml.",
        unit="nats per token",
        above=0,
    )
