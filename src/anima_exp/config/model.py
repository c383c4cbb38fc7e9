"""The base model, how its weights are stored, and the adapter on top of it."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import MISSING, setting


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
    named = "named"  # those that lora.layers names
    none = "none"  # no adapter: every weight is trained


class Attention(StrEnum):
    """Which implementation of attention transformers uses."""

    sdpa = "sdpa"  # torch's own
    eager = "eager"
    flash_attention_2 = "flash_attention_2"  # needs the flash-attn package and a GPU


@dataclass
class Recommended:
    """What is known to work at this model's size; other groups take these by interpolation."""

    learning_rate: float = setting(MISSING, "optimizer.learning_rate takes it.", above=0)
    lora_dropout: float = setting(MISSING, "lora.dropout takes it.", at_least=0, below=1)
    batch_size: int = setting(16, "trainer.batch_size takes it.", unit="examples", above=0)
    group_by_length: bool = setting(True, "trainer.group_by_length takes it.")
    precision: Precision = setting(Precision.bf16, "trainer.precision takes it.")


@dataclass
class ShapeConfig:
    """What memory and speed depend on, by the names of the model's config.json: for the planner.

    What is trained reads its own config.json.
    """

    model_type: str = setting("llama", "The architecture's name.")
    hidden_size: int = setting(MISSING, "Width of the residual stream.", above=0)
    num_hidden_layers: int = setting(MISSING, "Decoder blocks.", above=0)
    num_attention_heads: int = setting(MISSING, "Attention heads.", above=0)
    num_key_value_heads: int | None = setting(
        None, "Heads of keys and values; null = as many as attention heads.", above=0
    )
    head_dim: int | None = setting(
        None, "Width of a head; null = hidden_size / num_attention_heads.", above=0
    )
    intermediate_size: int = setting(MISSING, "Width of the feed-forward layer.", above=0)
    vocab_size: int = setting(MISSING, "Tokens in the vocabulary.", above=0)
    tie_word_embeddings: bool = setting(False, "Whether input and output embeddings are one.")
    max_position_embeddings: int | None = setting(
        None, "Longest sequence the model was made for.", unit="tokens", above=0
    )


@dataclass
class ModelConfig:
    """A base model, before any adapter."""

    name: str = setting(
        MISSING, "Label of the model; the run's name begins with it.", in_name=False, label="model"
    )
    source: str = setting(MISSING, "Hub id, local folder, or tiny for the embedded model.")
    revision: str | None = setting(None, "Hub commit, branch or tag.")
    tokenizer: str | None = setting(
        None, "Hub id or folder of another tokenizer; null = the model's own."
    )
    adapter: str | None = setting(
        None,
        "Folder or hub id of a LoRA adapter to train further; rank, alpha and layers are its own.",
        since="0.2",
    )
    attention: Attention = setting(Attention.sdpa, "Implementation of attention.")
    device_map: str | None = setting(
        None,
        "auto spreads the model over all GPUs, as Anima did; null does so only if one GPU is too "
        "small.",
        in_name=False,
    )
    max_memory_gib: float | None = setting(
        None, "Memory per GPU with device_map=auto.", unit="GiB", above=0, in_name=False
    )
    norms_in_fp32: bool = setting(
        False, "Keep the weights of normalisation layers in fp32, as qlora.py does."
    )
    trust_remote_code: bool = setting(
        False, "Run Python code that the model's repository brings.", in_name=False
    )
    recommended: Recommended = setting(
        Recommended,
        "What is known to work at this model's size; other groups take it.",
        in_name=False,
    )
    shape: ShapeConfig | None = setting(
        None, "Sizes for plans; null = read from the folder or from the hub.", in_name=False
    )


@dataclass
class QuantConfig:
    """How the frozen base is stored, and the type its products are computed in."""

    type: Quantization = setting(
        MISSING, "How the frozen weights of the base are stored.", label="quant"
    )
    double_quant: bool = setting(False, "Quantise the quantisation constants too (4 bits only).")
    compute_dtype: Precision = setting(MISSING, "The type of matrix products with the base.")
    keep_dequantized: bool | None = setting(
        None,
        "Keep a copy of the 4-bit weights in compute_dtype, for speed; null = if memory allows.",
        in_name=False,
    )
    snapshot: bool = setting(
        True, "Keep the quantised base in cache, for the next run to load.", in_name=False
    )


@dataclass
class LoraConfig:
    """The low-rank update: W + (alpha / rank) * B @ A."""

    target_modules: TargetModules = setting(
        MISSING, "Which linear layers get an adapter; none trains every weight."
    )
    layers: list[str] | None = setting(
        None,
        "Names of layers, as q_proj or mlp.down_proj, with target_modules=named.",
        since="0.2",
    )
    rank: int = setting(64, "Rank of the update.", above=0, largest=65_536)
    alpha: float = setting(
        16.0, "Scale: the update is multiplied by alpha / rank.", above=0, largest=1e6
    )
    dropout: float = setting(
        MISSING, "Share of the adapter's inputs that dropout sets to 0.", at_least=0, below=1
    )
    dtype: Precision = setting(Precision.fp32, "Type of the adapter's own weights.")
