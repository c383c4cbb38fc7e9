"""The base model, how its weights are stored, and the adapter on top of it."""

from dataclasses import dataclass, field
from enum import StrEnum

from omegaconf import MISSING


class Precision(StrEnum):
    """The type that matrix products are computed in."""

    bf16 = "bf16"  # QLoRA's
    fp16 = "fp16"  # for GPUs older than Ampere; loses about one 7B run in five (QLoRA's README)
    fp32 = "fp32"


class Quantization(StrEnum):
    """How the frozen base weights are stored."""

    nf4 = "nf4"  # 4-bit NormalFloat, the QLoRA paper's choice
    fp4 = "fp4"
    int8 = "int8"  # LLM.int8()
    none = "none"  # `trainer.precision`: plain LoRA, or full fine-tuning with lora=none


class TargetModules(StrEnum):
    """Which linear layers get an adapter: the layer sets of the paper's Appendix A.1."""

    all_linear = "all_linear"
    attention = "attention"
    key_query = "key_query"
    ffn = "ffn"
    attention_ffn_out = "attention_ffn_out"
    none = "none"  # no adapter: every weight is trained


class Attention(StrEnum):
    """Which implementation of attention transformers uses."""

    sdpa = "sdpa"  # torch's own
    eager = "eager"
    flash_attention_2 = "flash_attention_2"  # needs the flash-attn package and a GPU


@dataclass
class Recommended:
    """What is known to work at this model's size; other groups take these by interpolation."""

    learning_rate: float = MISSING
    lora_dropout: float = MISSING
    batch_size: int = 16  # examples per optimizer step
    group_by_length: bool = True
    precision: Precision = Precision.bf16


@dataclass
class ShapeConfig:
    """What memory and speed depend on, by the names of the model's config.json: for the planner.

    What is trained reads its own config.json.
    """

    model_type: str = "llama"
    hidden_size: int = MISSING
    num_hidden_layers: int = MISSING
    num_attention_heads: int = MISSING
    num_key_value_heads: int | None = None  # null = as many as attention heads
    head_dim: int | None = None  # null = hidden_size / num_attention_heads
    intermediate_size: int = MISSING
    vocab_size: int = MISSING
    tie_word_embeddings: bool = False
    max_position_embeddings: int | None = None


@dataclass
class ModelConfig:
    """A base model, before any adapter."""

    name: str = MISSING  # the file's name; it opens the run folder's name
    source: str = MISSING  # hub id, local folder, or `tiny`
    revision: str | None = None  # hub commit, branch or tag
    tokenizer: str | None = None  # hub id or folder; null = the model's own
    attention: Attention = Attention.sdpa
    device_map: str | None = (
        None  # auto = over all GPUs, as Anima did; null = where one is too small
    )
    max_memory_gib: float | None = None  # per GPU, with device_map=auto
    norms_in_fp32: bool = False  # keep normalisation weights in fp32, as qlora.py does
    trust_remote_code: bool = False
    recommended: Recommended = field(default_factory=Recommended)
    shape: ShapeConfig | None = None  # null = read from the folder, or from the hub


@dataclass
class QuantConfig:
    """How the frozen base is stored, and the type its products are computed in."""

    type: Quantization = MISSING
    double_quant: bool = False  # quantise the quantisation constants too (4 bits only)
    compute_dtype: Precision = MISSING
    # Keep the 4-bit weights in compute_dtype beside them, for speed; null = where memory allows.
    keep_dequantized: bool | None = None
    snapshot: bool = True  # keep the quantised base in `cache`, for the next run to load


@dataclass
class LoraConfig:
    """The low-rank update: W + (alpha / rank) * B @ A."""

    target_modules: TargetModules = MISSING
    rank: int = 64
    alpha: float = 16.0
    dropout: float = MISSING
    dtype: Precision = Precision.fp32  # of the adapter's own weights
