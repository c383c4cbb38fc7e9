"""Graphics cards: what they hold, what their makers promise, and what we expect of that."""

from dataclasses import dataclass

from anima_exp.plan.memory import GIB

# What CUDA, its libraries and kernels take before the first tensor. An assumption.
CONTEXT_GIB = 0.7
# The share of the promised speeds that training reaches. ASSUMPTIONS until measured: 40 % of the
# arithmetic is what well-made trainers report for bf16, 60 % of the bandwidth what simple kernels do.
UTILISATION = 0.40
BANDWIDTH_SHARE = 0.60


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

    def seconds(self, operations: float, moved_bytes: float) -> float:
        """For arithmetic, and for what is read and written beside it."""
        return operations / (UTILISATION * self.teraflops * 1e12) + moved_bytes / (
            BANDWIDTH_SHARE * self.bandwidth_gb * 1e9
        )


CARDS = (
    Card("RTX 4090", 24, 23.5, 165.0, 1008),
    Card("L40S", 48, 44.4, 362.0, 864),
    Card("RTX 6000 Ada", 48, 47.4, 364.0, 960),
    Card("A100", 80, 79.2, 312.0, 2039),
    Card("H100", 80, 79.1, 989.0, 3350),
    Card("H200", 141, 139.7, 989.0, 4800),
)
