"""Graphics cards: what they hold, what their makers promise, and what we expect of that."""

from dataclasses import dataclass

from anima_exp.plan.memory import GIB

# What CUDA, its libraries and kernels take before the first tensor. An assumption.
CONTEXT_GIB = 0.7
# The share of the promised speeds that training reaches. ASSUMPTIONS until measured: well-made
# trainers report 40 % of the bf16 arithmetic, simple kernels 60 % of the bandwidth.
UTILISATION = 0.40
BANDWIDTH_SHARE = 0.60
PAGING_GB = 20  # a second, between the card and CPU memory. An assumption.


@dataclass(frozen=True)
class Card:
    name: str
    memory_gb: int  # as it is sold
    visible_gib: float  # as CUDA reports it
    teraflops: float  # bf16 on dense matrices, summed in fp32, from the data sheet
    bandwidth_gb: float  # a second, from the data sheet

    @property
    def available(self) -> float:
        """Bytes for tensors."""
        return (self.visible_gib - CONTEXT_GIB) * GIB

    def seconds(
        self, operations: float, *, in_fp32: bool, moved: float = 0, paged: float = 0
    ) -> float:
        """For arithmetic, for bytes read and written beside it, and for those paged."""
        teraflops = self.teraflops / 2 if in_fp32 else self.teraflops  # as TF32
        return (
            operations / (UTILISATION * teraflops * 1e12)
            + moved / (BANDWIDTH_SHARE * self.bandwidth_gb * 1e9)
            + paged / (PAGING_GB * 1e9)
        )


CARDS = (
    Card("RTX 4090", 24, 23.5, 165.0, 1008),
    Card("L40S", 48, 44.4, 362.0, 864),
    Card("A100", 80, 79.2, 312.0, 2039),
    Card("H100", 80, 79.1, 989.0, 3350),
    Card("H200", 141, 139.7, 989.0, 4800),
)
