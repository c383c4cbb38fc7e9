"""Estimate the peak memory of a run, part by part, for any way to execute it."""

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

# Memory that torch reserves and no tensor uses, as a fraction of the memory that grows with the
# tokens. Measured with torch's allocator and rows of 40 to 1,024 tokens, from 7B on 24 GB to 65B on
# 141 GB. With segments that can grow it was 1 to 8 %, and the peak was at most 3 % above the
# prediction. (With full activation checkpointing it was 19 % of a small amount, and the peak was
# below the prediction.) With segments of fixed size it was 8 to 17 %, and a reserve of 5 % was too
# small for most of these runs. On a CPU it is an assumption.
UNUSED = 0.05
UNUSED_IF_FIXED = 0.15
# Unsharded blocks held at the same time: the one being computed, the prefetched one, and briefly
# the copy being resharded.
_GATHERED = 3
_NARROW = {4: 0, 2: 2}  # bytes of a logit in addition to fp32, by the bytes of trainer.precision


@dataclass(frozen=True)
class Rows:
    """The lengths of rows that memory depends on."""

    longest: int  # tokens of the longest row
    batch_tokens: int  # of the largest optimizer batch
    batch_labels: int  # label tokens of the largest optimizer batch

    def labels(self, budget: int) -> int:
        """Return the largest number of label tokens in a micro-batch of `budget` tokens."""
        return min(budget, self.batch_labels)

    def share(self, batch_size: int, processes: int) -> "Rows":
        """Return the lengths for one process, if `processes` divide the rows of a batch."""
        part = ceil(batch_size / processes) / batch_size
        tokens = max(self.longest, ceil(self.batch_tokens * part))
        return Rows(self.longest, tokens, min(tokens, ceil(self.batch_labels * part)))


@dataclass(frozen=True)
class Memory:
    """Bytes of tensors on the device."""

    base: int
    copy: int  # the dequantized copy of the 4-bit weights
    trained: TrainableMemory
    activations: Activations
    states: int  # hidden states at the labels, and their gradient
    logits: int  # one chunk of logits, before the backward pass starts
    buffer: int  # matrices that are cast or dequantized temporarily
    kernels: int = 0  # on a CPU: what torch compiles for products in bf16 (system/hardware.py)

    @property
    def adapter(self) -> int:
        return self.trained.weights

    @property
    def dynamic(self) -> int:
        """Bytes that grow with the tokens of a micro-batch."""
        return self.activations.kept + self.states + max(self.activations.working, self.logits)

    @property
    def trainable(self) -> int:
        """Bytes of trained weights, their gradients and optimizer states."""
        return self.trained.total

    @property
    def static(self) -> int:
        """Bytes that are in memory all the time."""
        return self.base + self.copy + self.trainable

    @property
    def peak(self) -> int:
        return self.static + self.dynamic + self.buffer + self.kernels


@dataclass(frozen=True)
class MemoryModel:
    """The memory of one run for every way to execute it. Sizes of weights are computed once."""

    shape: Shape
    config: RunConfig
    rows: Rows
    gpu: bool = True  # attention is one kernel, and a paged optimizer can move its states
    expandable: bool = True  # on a GPU, memory segments can grow: system/hardware.py
    shards: int = 1  # devices that the base model's blocks are sharded over

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
            # Logits in fp32, a 16-bit copy if they are computed so, and the last norm's output.
            logits=chunk * vocab * (4 + _NARROW[width]) + token_budget * stream,
            buffer=0 if copied else self._buffer,
            kernels=self._kernels,
        )

    @property
    def unused(self) -> float:
        """Reserved but unused memory, as a fraction of `Memory.dynamic`."""
        return UNUSED if self.expandable or not self.gpu else UNUSED_IF_FIXED

    @cached_property
    def weights(self) -> list[Stored]:
        return base_weights(self.shape, self.config)

    @cached_property
    def base(self) -> int:
        """Bytes of the base model on one device."""
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
        """Bytes of one dequantized matrix, or of all matrices that autocast keeps in 16 bits."""
        if self.config.lora.is_full_finetune:
            width = WIDTH[self.config.trainer.precision]
            return 0 if width == 4 else self.shape.linear_weights * width
        if not self.config.quant.is_4bit:
            return 0
        largest = max(one.weights for block in self.shape.blocks for one in block.linears)
        stacks = (one.weights for block in self.shape.blocks for one in block.experts)
        largest = max(largest, *stacks, 0)
        return largest * WIDTH[self.config.quant.compute_dtype]

    @cached_property
    def _of_token(self) -> dict[ActivationCheckpointing, Activations]:
        return {
            how: activations(self.shape, self.config, recompute=how, gpu=self.gpu)
            for how in ActivationCheckpointing
        }
