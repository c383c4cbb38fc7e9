"""Graphics cards: what they hold, what their makers promise, and what we expect of that."""

from dataclasses import dataclass

from anima_exp.plan.memory import GIB

# What CUDA, its libraries and kernels take before the first tensor. An assumption.
CONTEXT_GIB = 0.7
# The share of the promised speeds that training reaches. ASSUMPTIONS until measured: well-made
# trainers report 40 % of the bf16 arithmetic, simple kernels 60 % of the bandwidth.
UTILISATION = 0.40
BANDWIDTH_SHARE = 0.60
# Of what links a card to the others of its machine, what sums and gathers over several reach.
LINK_SHARE = 0.50
PAGING_GB = 20  # a second, between the card and CPU memory. An assumption.


@dataclass(frozen=True)
class Card:
    name: str
    memory_gb: int  # as it is sold
    visible_gib: float  # as CUDA reports it
    teraflops: float  # bf16 on dense matrices, summed in fp32, from the data sheet
    bandwidth_gb: float  # a second, from the data sheet
    link_gb: float  # a second each way to the other cards: NVLink, or else 16 lanes of PCIe 4.0

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

    def gathering(self, count: float, cards: int) -> float:
        """Seconds until each of so many cards has the parts that all of them hold, in bytes."""
        return (cards - 1) / cards * count / (LINK_SHARE * self.link_gb * 1e9)

    def summing(self, count: float, cards: int) -> float:
        """Seconds until each has the sum of what all of them hold, in bytes."""
        return 2 * self.gathering(count, cards)


CARDS = (
    Card("RTX 4090", 24, 23.5, 165.0, 1008, 32),
    Card("L40S", 48, 44.4, 362.0, 864, 32),
    Card("A100", 80, 79.2, 312.0, 2039, 300),
    Card("H100", 80, 79.1, 989.0, 3350, 450),
    Card("H200", 141, 139.7, 989.0, 4800, 450),
)
