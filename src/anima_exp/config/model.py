"""Define the settings of the base model, how its weights are stored, and its adapter."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import MISSING, setting


class Precision(StrEnum):
    """Number type of matrix products."""

    bf16 = "bf16"  # QLoRA's
    fp16 = "fp16"  # for GPUs older than Ampere; loses about one 7B run in five (QLoRA's README)
    fp32 = "fp32"


class Quantization(StrEnum):
    """How the frozen base weights are stored."""

    nf4 = "nf4"  # 4-bit NormalFloat, the QLoRA paper's choice
    fp4 = "fp4"
    int8 = "int8"  # LLM.int8()
    none = "none"  # as `trainer.precision`: for plain LoRA, and for lora=full_finetune


class TargetModules(StrEnum):
    """Which linear layers get an adapter: the layer sets of the paper's Appendix A.1."""

    all_linear = "all_linear"
    attention = "attention"
    key_query = "key_query"
    ffn = "ffn"
    attention_ffn_out = "attention_ffn_out"
    named = "named"  # those that lora.modules lists
    none = "none"  # no adapter: full fine-tuning


class LoraVariant(StrEnum):
    """What an adapter computes from A and B."""

    plain = "plain"  # W + alpha / rank * B A (Hu et al. 2021)
    rslora = "rslora"  # W + alpha / sqrt(rank) * B A (Kalajdzievski 2023)
    dora = "dora"  # each row of W + alpha / rank * B A has a trained length (Liu et al. 2024)


class LoraInit(StrEnum):
    """The values of A and B before the first step."""

    kaiming = "kaiming"  # A is noise and B is 0
    pissa = "pissa"  # the largest singular vectors of W (Meng et al. 2024)
    olora = "olora"  # the first columns of the QR decomposition of W (Buyukakyuz 2024)
    loftq = "loftq"  # the largest singular vectors of the quantization error (Li et al. 2023)
    eva = "eva"  # A has the directions in which the inputs vary most, B is 0 (Paischer et al. 2024)


class Attention(StrEnum):
    """Which implementation of attention transformers uses."""

    sdpa = "sdpa"  # torch's own
    eager = "eager"
    flash_attention_2 = "flash_attention_2"  # needs the flash-attn package and a GPU


class Fault(StrEnum):
    """A fault of which a run is refused, unless model.accept lists it."""

    unquantized = "unquantized"  # less than 90 % of the matrices are quantized
    partial_targets = "partial_targets"  # some matrices of a kind get no adapter
    no_gradient = "no_gradient"  # some adapter matrices get no gradient at the first step
    ignored_settings = "ignored_settings"  # a setting of config.json changes no logit


@dataclass
class Recommended:
    """Settings known to work at this model's size. Other groups take them by interpolation."""

    learning_rate: float = setting(MISSING, "The default of optimizer.learning_rate.", above=0)
    lora_dropout: float = setting(MISSING, "The default of lora.dropout.", at_least=0, below=1)
    batch_size: int = setting(16, "The default of trainer.batch_size.", unit="examples", above=0)
    group_by_length: bool = setting(True, "The default of trainer.group_by_length.")
    precision: Precision = setting(Precision.bf16, "The default of trainer.precision.")


@dataclass
class ShapeConfig:
    """Sizes of the model for `plan`, named as in the model's config.json.

    Training reads the model's own config.json instead.
    """

    model_type: str = setting("llama", "Architecture, as transformers names it.")
    hidden_size: int = setting(MISSING, "Width of the residual stream.", above=0)
    num_hidden_layers: int = setting(MISSING, "Number of decoder blocks.", above=0)
    num_attention_heads: int = setting(MISSING, "Attention heads per block.", above=0)
    num_key_value_heads: int | None = setting(
        None, "Key and value heads per block; null = num_attention_heads.", above=0
    )
    head_dim: int | None = setting(
        None, "Width of one head; null = hidden_size / num_attention_heads.", above=0
    )
    intermediate_size: int = setting(MISSING, "Width of the feed-forward layer.", above=0)
    num_experts: int | None = setting(
        None, "Experts per block; null = the block has no experts.", above=0
    )
    num_local_experts: int | None = setting(
        None, "The same, in the families that call it so, such as gpt_oss.", above=0
    )
    num_experts_per_tok: int | None = setting(
        None, "Experts that each token passes through.", above=0
    )
    moe_intermediate_size: int | None = setting(
        None, "Width of one expert; null = intermediate_size.", above=0
    )
    vocab_size: int = setting(MISSING, "Tokens in the vocabulary.", above=0)
    tie_word_embeddings: bool = setting(
        False, "True if input and output embeddings share their weights."
    )
    max_position_embeddings: int | None = setting(
        None, "Longest sequence that the model supports.", unit="tokens", above=0
    )


@dataclass
class ModelConfig:
    """A base model, before any adapter."""

    name: str = setting(
        MISSING,
        "Label of the model; the run's name begins with it, results do not depend on it.",
        in_name=False,
        label="model",
    )
    source: str = setting(
        MISSING, "Hugging Face hub id or local folder of the model, or tiny for the built-in one."
    )
    revision: str | None = setting(
        None, "Commit, branch or tag on the hub; null = the main branch."
    )
    tokenizer: str | None = setting(
        None, "Hub id or folder of another tokenizer; null = the model's own."
    )
    adapter: str | None = setting(
        None,
        "Folder or hub id of a LoRA adapter to continue training from, with its rank, alpha and "
        "layers; null = a new adapter.",
        since="0.2",
    )
    attention: Attention = setting(Attention.sdpa, "Implementation of attention.")
    device_map: str | None = setting(
        None,
        "auto spreads the layers over all visible GPUs; null = only if the model does not fit on "
        "one.",
        in_name=False,
    )
    max_memory_gib: float | None = setting(
        None,
        "Memory to use on each GPU with device_map=auto; null = all that is free.",
        unit="GiB",
        above=0,
        in_name=False,
    )
    norms_in_fp32: bool = setting(
        False, "If true, keep the weights of normalization layers in fp32, as qlora.py does."
    )
    trust_remote_code: bool = setting(
        False, "If true, run Python code that comes with the model's repository.", in_name=False
    )
    accept: list[Fault] = setting(
        list,
        "Faults of the model to accept instead of refusing the run: unquantized, partial_targets, "
        "no_gradient, ignored_settings.",
        in_name=False,
        since="0.2",
    )
    recommended: Recommended = setting(
        Recommended, "Defaults of other groups for this model.", in_name=False
    )
    shape: ShapeConfig | None = setting(
        None,
        "Sizes for plan; null = read them from the model's config.json.",
        in_name=False,
    )


@dataclass
class QuantConfig:
    """How the frozen base is stored, and the number type of its matrix products."""

    type: Quantization = setting(
        MISSING, "Number type in which the frozen base weights are stored.", label="quant"
    )
    double_quant: bool = setting(
        False, "If true, quantize the quantization constants too (4-bit types only)."
    )
    compute_dtype: Precision = setting(
        MISSING, "Number type of matrix products with the base weights."
    )
    cache_dequantized: bool | None = setting(
        None,
        "Keep a copy of the 4-bit weights in compute_dtype, for speed; null = if memory allows.",
        in_name=False,
        formerly=("keep_dequantized",),
    )
    cache_quantized: bool = setting(
        True,
        "Store the quantized base in cache_dir, so that the next run loads it faster.",
        in_name=False,
        formerly=("snapshot",),
    )

    @property
    def is_4bit(self) -> bool:
        """Return whether the base is stored in 4 bits."""
        return self.type in (Quantization.nf4, Quantization.fp4)


@dataclass
class LoraConfig:
    """The low-rank update: W + (alpha / rank) * B @ A."""

    target_modules: TargetModules = setting(
        MISSING, "Which linear layers get an adapter; none = full fine-tuning of all weights."
    )
    modules: list[str] | None = setting(
        None,
        "With target_modules=named: names of the layers, such as q_proj or mlp.down_proj, or "
        "regular expressions.",
        since="0.2",
        formerly=("layers",),
    )
    experts: bool = setting(
        False,
        "Also adapt stacked experts of a mixture of experts. Routers stay frozen. Needs dropout=0.",
        since="0.2",
        as_before=False,
    )
    rank: int = setting(64, "Rank of the update matrices.", above=0, largest=65_536)
    alpha: float = setting(
        16.0, "Scale of the update, which is multiplied by alpha / rank.", above=0, largest=1e6
    )
    variant: LoraVariant = setting(
        LoraVariant.plain,
        "What the adapter computes: plain LoRA, rsLoRA (alpha / sqrt(rank)), or DoRA.",
        since="0.2",
        as_before=LoraVariant.plain.value,
    )
    init: LoraInit = setting(
        LoraInit.kaiming,
        "Values of A and B before the first step.",
        since="0.2",
        as_before=LoraInit.kaiming.value,
    )
    rank_pattern: list[str] | None = setting(
        None,
        "Other ranks for some layers: NAME:RANK with a name or regular expression, such as "
        "q_proj:8. The first match counts.",
        since="0.2",
    )
    alpha_pattern: list[str] | None = setting(
        None, "Other values of alpha for some layers, as NAME:ALPHA.", since="0.2"
    )
    train_embeddings: bool = setting(
        False,
        "If true, train the embeddings and the head too, as whole matrices in fp32.",
        since="0.2",
        as_before=False,
    )
    save_modules: list[str] | None = setting(
        None,
        "Names of further modules to train as a whole and to save with the adapter, such as norm.",
        since="0.2",
    )
    dropout: float = setting(
        MISSING, "Dropout probability on the adapter's inputs.", at_least=0, below=1
    )
    dtype: Precision = setting(Precision.fp32, "Number type of the adapter's own weights.")

    def __post_init__(self) -> None:
        """Take an empty list for none, and a name that is given twice for one."""
        for name in ("modules", "rank_pattern", "alpha_pattern", "save_modules"):
            given = getattr(self, name)
            if given == [] and name != "modules":  # an empty list of modules is a mistake
                setattr(self, name, None)
        if self.save_modules:
            self.save_modules = list(dict.fromkeys(self.save_modules))

    @property
    def is_full_finetune(self) -> bool:
        """Return whether every weight is trained, without an adapter."""
        return self.target_modules is TargetModules.none
