"""What a run may be told: one dataclass per folder of conf/, and nothing else.

Hydra merges YAML into these, so a key that is not here stops composition. Units are in the
names (`_tokens`, `_rows`, `_gib`) or in the comment beside the field. Rules that span two
settings are in `checks.py`; the published values are in conf/, next to their source.
"""

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


class OptimizerName(StrEnum):
    paged_adamw_32bit = "paged_adamw_32bit"
    paged_adamw_8bit = "paged_adamw_8bit"
    adamw = "adamw"


class Schedule(StrEnum):
    """How the learning rate moves over the run."""

    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    linear = "linear"
    cosine = "cosine"


class Attention(StrEnum):
    """Which implementation of attention transformers uses."""

    sdpa = "sdpa"  # torch's own
    eager = "eager"
    flash_attention_2 = "flash_attention_2"  # needs the flash-attn package and a GPU


class BadRow(StrEnum):
    """What to do with a row that cannot become an example."""

    error = "error"
    skip = "skip"  # and count


class Direction(StrEnum):
    """Which way a metric is better."""

    minimize = "minimize"
    maximize = "maximize"


class EarlyStopping(StrEnum):
    """Whether a sweep gives up losing cells before their last step."""

    none = "none"
    asha = "asha"  # asynchronous successive halving: at each rung the best share goes on


class TrackingMode(StrEnum):
    auto = "auto"  # online with a key and a network, else offline
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class Recommended:
    """What is known to work at this model's size; other groups take these by interpolation."""

    learning_rate: float = MISSING
    lora_dropout: float = MISSING
    batch_size: int = 16  # examples per optimizer step
    micro_batch_size: int = 1  # examples per forward pass
    gradient_checkpointing: bool = True
    group_by_length: bool = True
    precision: Precision = Precision.bf16


@dataclass
class ModelConfig:
    """A base model, before any adapter."""

    name: str = MISSING  # the file's name; it opens the run folder's name
    source: str = MISSING  # hub id, local folder, or `tiny`
    revision: str | None = None  # hub commit, branch or tag
    tokenizer: str | None = None  # hub id or folder; null = the model's own
    attention: Attention = Attention.sdpa
    device_map: str | None = None  # null = one device; auto = spread over the GPUs, as Anima did
    max_memory_gib: float | None = None  # per GPU, with device_map=auto
    trust_remote_code: bool = False
    recommended: Recommended = field(default_factory=Recommended)


@dataclass
class QuantConfig:
    """How the frozen base is stored, and the type its products are computed in."""

    type: Quantization = MISSING
    double_quant: bool = False  # quantise the quantisation constants too (4 bits only)
    compute_dtype: Precision = MISSING


@dataclass
class LoraConfig:
    """The low-rank update: W + (alpha / rank) * B @ A."""

    target_modules: TargetModules = MISSING
    rank: int = 64
    alpha: float = 16.0
    dropout: float = MISSING
    dtype: Precision = Precision.fp32  # of the adapter's own weights


@dataclass
class DataConfig:
    """Where rows come from and how one becomes a training example."""

    name: str = MISSING
    recipe: str = MISSING  # a function in anima_exp.data.recipes, or a dotted path of your own
    source: str | None = None  # hub id, or `sample` for the generated world
    path: str | None = None  # a local .json, .jsonl, .csv, .tsv or .parquet file instead
    subset: str | None = None  # the hub's configuration name
    data_files: str | None = None  # a file inside the hub repository
    split: str = "train"
    revision: str | None = None
    rows: int | None = None  # read only the first rows (and how many `sample` generates)
    max_prompt_tokens: int = MISSING  # BOS included; the start is kept
    max_response_tokens: int = MISSING  # EOS included; the start is kept
    train_on_source: bool = False  # take the loss on the prompt too
    eos_when_truncated: bool = False  # end a response with EOS even where it was cut short
    heldout_rows: int = 1024  # set aside for evaluation; 0 = none
    heldout_split: str | None = None  # take them from this split instead of from `split`
    heldout_path: str | None = None  # or from this file
    heldout_seed: int = 42  # which rows: the same for every run seed, so that runs compare
    max_train_samples: int | None = None  # after the split; smaller sets nest in larger ones
    on_bad_row: BadRow = BadRow.error
    prompt_template: str = MISSING  # how a bare question is put: a name in anima_exp.data.templates
    sample_prompts: list[str] = field(default_factory=list)  # questions that evals.samples asks
    exact_answers: bool = False  # one right answer a row, so that evals.exact_match has a meaning
    steps: int | None = None  # recommended optimizer steps; trainer.steps takes it
    eval_every: int | None = None  # recommended; trainer.eval_every takes it


@dataclass
class OptimizerConfig:
    name: OptimizerName = MISSING
    learning_rate: float = MISSING
    schedule: Schedule = Schedule.constant
    warmup_ratio: float = 0.0  # share of the steps over which the rate rises from 0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 0.3


@dataclass
class TrainerConfig:
    steps: int | None = None  # optimizer steps; null = trainer.epochs decides
    epochs: float | None = None  # passes over the training rows; null = trainer.steps decides
    batch_size: int = MISSING  # examples per optimizer step, over all devices
    micro_batch_size: int = MISSING  # examples per forward pass and device
    precision: Precision = MISSING
    gradient_checkpointing: bool = MISSING
    group_by_length: bool = True  # batches of similar length: less padding, a saw-tooth loss curve
    log_every: int = 10  # steps
    eval_every: int | None = None  # steps; null = before and after training only
    eval_at_start: bool = True  # the "before" figure
    save_every: int = 250  # steps
    keep_checkpoints: int = 2  # the newest; older ones are deleted


@dataclass
class HeldoutConfig:
    """Loss per response token on the rows set aside."""

    max_rows: int | None = 1000
    batch_size: int = 8


@dataclass
class ExactMatchConfig:
    """Share of greedy answers equal to the reference, on rows set aside (data.exact_answers)."""

    max_rows: int | None = 200
    max_new_tokens: int = 32
    batch_size: int = 64


@dataclass
class SamplesConfig:
    """What the model writes to a few fixed prompts, greedily."""

    prompts: list[str] = MISSING
    max_new_tokens: int = 70


@dataclass
class EvalsConfig:
    """What is measured at every evaluation; an eval that is null is off."""

    heldout: HeldoutConfig | None = None
    exact_match: ExactMatchConfig | None = None
    samples: SamplesConfig | None = None


@dataclass
class TrackingConfig:
    """Weights & Biases. Keys come from the environment or `wandb login`, never from here."""

    mode: TrackingMode = TrackingMode.disabled
    project: str = "anima_exp"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class SweepConfig:
    """How a grid is searched. What a cell computes does not depend on it."""

    retries: int = 0  # more tries for a cell that failed, before the sweep ends
    metric: str = "heldout_loss"  # a score or a logged value: what early stopping and Optuna go by
    direction: Direction = Direction.minimize
    early_stopping: EarlyStopping = EarlyStopping.none
    reduction_factor: int = 3  # at each rung one cell in so many goes on
    rungs: int = 2  # pauses before the last step, at steps / 9 and steps / 3 for a factor of 3


@dataclass
class LauncherConfig:
    """Where the cells of a sweep run on this machine."""

    jobs: int | None = None  # at once; null = one a GPU, or one on a CPU
    jobs_per_gpu: int = 1
    warm: bool = True  # fork jobs from a process that has imported torch; false = a fresh one each


@dataclass
class RunConfig:
    """Everything one run depends on."""

    model: ModelConfig = field(default_factory=ModelConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    seed: int = 0  # adapter initialisation, row order, dropout
    runs: str = "runs"  # the folder that run folders are made in
    folder: str | None = None  # this run's own folder; null = named by what it computes
    cache: str | None = None  # token ids; null = ~/.cache/anima_exp
    scale: float = 1.0  # shrinks steps and rows alike, for a small rehearsal of a large run
    dry_run: bool = False  # compose and check everything, show what would run, and stop
