"""Shape, RunConfig and how it is executed -> the memory at its highest point, part by part."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from anima_exp.config import (
    ActivationCheckpointing,
    Precision,
    RunConfig,
)
from anima_exp.model.constants import chunk_logits
from anima_exp.planner.activations import Activations, activations
from anima_exp.planner.shape import Shape
from anima_exp.planner.weights import (
    WIDTH,
    Stored,
    TrainableMemory,
    base_weights,
    dequantized_copy,
    split_bytes,
    trained,
)
from anima_exp.system.hardware import KEPT_KERNELS, KERNEL_BYTES

GIB = 2**30
GB = 10**9

# What torch reserves and no tensor takes, as a share of what grows with the tokens. Measured with
# torch's allocator and rows of 40 to 1,024 tokens, from 7B on 24 GB to 65B on 141 GB: in pieces of
# memory that grow 1 to 8 %, and at most 3 % more than predicted (19 % of the little that grows with
# full recomputation, and less than predicted). In pieces of a fixed size it was 8 to 17 %, where a
# reserve of 5 % was too little for most of these runs. On a CPU it is an assumption.
UNUSED = 0.05
UNUSED_IF_FIXED = 0.15
# Blocks of a sharded base that lie whole on a card at once: the one that is computed, the next one
# as it arrives, and for a moment the copy that it is taken apart from.
_GATHERED = 3
_NARROW = {4: 0, 2: 2}  # by the width of precision: bytes of a logit beside fp32


@dataclass(frozen=True)
class Rows:
    """What the memory depends on in the data."""

    longest: int  # tokens of the longest row
    batch_tokens: int  # of the largest optimizer batch
    batch_labels: int  # of these, label tokens

    def labels(self, budget: int) -> int:
        """The most label tokens that a micro-batch can have."""
        return min(budget, self.batch_labels)

    def share(self, batch_size: int, processes: int) -> "Rows":
        """Of one process, when they divide the rows of a batch."""
        part = ceil(batch_size / processes) / batch_size
        tokens = max(self.longest, ceil(self.batch_tokens * part))
        return Rows(self.longest, tokens, min(tokens, ceil(self.batch_labels * part)))


@dataclass(frozen=True)
class Memory:
    """Bytes of tensors on the device."""

    base: int
    copy: int  # of the 4-bit weights, dequantised
    trained: TrainableMemory
    activations: Activations
    states: int  # at the labels, and their gradient
    logits: int  # one chunk, before anything goes backward
    buffer: int  # matrices in another type for a moment
    kernels: int = 0  # on a CPU: what torch has compiled for products in bf16 (system/hardware.py)

    @property
    def adapter(self) -> int:
        return self.trained.weights

    @property
    def passing(self) -> int:
        """What grows with the tokens."""
        return self.activations.kept + self.states + max(self.activations.working, self.logits)

    @property
    def learning(self) -> int:
        """What learns, with gradients and optimizer states."""
        return self.trained.total

    @property
    def resident(self) -> int:
        return self.base + self.copy + self.learning

    @property
    def peak(self) -> int:
        return self.resident + self.passing + self.buffer + self.kernels


@dataclass(frozen=True)
class MemoryModel:
    """What one run needs, whatever way it is executed: counted once."""

    shape: Shape
    config: RunConfig
    rows: Rows
    gpu: bool = True  # attention is one kernel, and a paged optimizer can move its states
    expandable: bool = True  # on a GPU, pieces of memory grow: system/hardware.py
    shards: int = 1  # devices that the blocks of the base are split over

    def memory(
        self, token_budget: int, recompute: ActivationCheckpointing, *, keep_dequantized: bool
    ) -> Memory:
        one = self._of_token[recompute]
        copied = keep_dequantized and self.config.quant.is_4bit
        labels, vocab = self.rows.labels(token_budget), self.shape.vocab
        width = WIDTH[self.config.trainer.precision]
        stream = self.shape.hidden * width
        chunk = min(labels, max(1, chunk_logits(gpu=self.gpu) // vocab))
        return Memory(
            base=self.base,
            copy=self._copy if copied else 0,
            trained=self.trained,
            activations=Activations(one.kept * token_budget, one.working * token_budget),
            states=2 * labels * stream,
            # Logits in fp32 and, in 16 bits, as they came, beside what the last norm has given.
            logits=chunk * vocab * (4 + _NARROW[width]) + token_budget * stream,
            buffer=0 if copied else self._buffer,
            kernels=self._kernels,
        )

    @property
    def unused(self) -> float:
        """What lies unused between tensors, as a share of what grows with the tokens."""
        return UNUSED if self.expandable or not self.gpu else UNUSED_IF_FIXED

    @cached_property
    def weights(self) -> list[Stored]:
        return base_weights(self.shape, self.config)

    @cached_property
    def base(self) -> int:
        """Bytes of it on one device."""
        whole = sum(kind.total for kind in self.weights)
        if self.shards == 1:
            return whole
        split = split_bytes(self.shape, self.config)
        alone = (replace(block, count=1) for block in self.shape.blocks)
        largest = max(split_bytes(self.shape, self.config, block) for block in alone)
        return whole - split + ceil(split / self.shards) + _GATHERED * largest

    @cached_property
    def trained(self) -> TrainableMemory:
        return trained(self.shape, self.config)

    @cached_property
    def _copy(self) -> int:
        return dequantized_copy(self.shape, self.config)

    @property
    def _kernels(self) -> int:
        types = (self.config.trainer.precision, self.config.quant.compute_dtype)
        return 0 if self.gpu or Precision.bf16 not in types else 2 * KEPT_KERNELS * KERNEL_BYTES

    @cached_property
    def _buffer(self) -> int:
        """Of one matrix that is dequantised, or of all that autocast keeps in 16 bits."""
        if self.config.lora.is_full_finetune:
            width = WIDTH[self.config.trainer.precision]
            return 0 if width == 4 else self.shape.linear_weights * width
        if not self.config.quant.is_4bit:
            return 0
        largest = max(one.weights for block in self.shape.blocks for one in block.linears)
        return largest * WIDTH[self.config.quant.compute_dtype]

    @cached_property
    def _of_token(self) -> dict[ActivationCheckpointing, Activations]:
        return {
            how: activations(self.shape, self.config, recompute=how, gpu=self.gpu)
            for how in ActivationCheckpointing
        }
