"""Graphics cards: what they hold, what their makers promise, and what we expect of that."""

from dataclasses import dataclass

from anima_exp.planner.memory import GIB

# What CUDA, its libraries and kernels take before the first tensor. An assumption.
CONTEXT_GIB = 0.7
# The share of the promised speeds that kernels reach. ESTIMATES until measured: the best products
# on an H200 reach 80 % of the arithmetic that its maker promises, and those of a training step are
# taken to reach 80 % of that. Kernels that only read and write reach 70 % of the bandwidth.
PRODUCT_SHARE = 0.64
BANDWIDTH_SHARE = 0.70
# Of what links a card to the others of its machine, what sums and gathers over several reach.
LINK_SHARE = 0.50
PAGING_GB = 20  # a second, between the card and CPU memory. An assumption.


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_gb: int  # as it is sold
    visible_gib: float  # as CUDA reports it
    teraflops: float  # bf16 on dense matrices, summed in fp32, from the data sheet
    bandwidth_gb: float  # a second, from the data sheet
    link_gb: float  # a second each way to the other cards: NVLink, or else 16 lanes of PCIe 4.0
    expandable: bool = True  # whether torch's pieces of its memory can grow: system/hardware.py

    @property
    def available(self) -> float:
        """Bytes for tensors."""
        return (self.visible_gib - CONTEXT_GIB) * GIB

    def computing(self, operations: float, *, in_fp32: bool) -> float:
        """Return the seconds that matrix products of so many operations take."""
        teraflops = self.teraflops / 2 if in_fp32 else self.teraflops  # as TF32
        return operations / (PRODUCT_SHARE * teraflops * 1e12)

    def moving(self, count: float) -> float:
        """Return the seconds to read or write so many bytes of the card's memory."""
        return count / (BANDWIDTH_SHARE * self.bandwidth_gb * 1e9)

    def paging(self, count: float) -> float:
        """Return the seconds to move so many bytes between the card and CPU memory."""
        return count / (PAGING_GB * 1e9)

    def gathering(self, count: float, cards: int) -> float:
        """Seconds until each of so many cards has the parts that all of them hold, in bytes."""
        return (cards - 1) / cards * count / (LINK_SHARE * self.link_gb * 1e9)

    def summing(self, count: float, cards: int) -> float:
        """Seconds until each has the sum of what all of them hold, in bytes."""
        return 2 * self.gathering(count, cards)


CARDS = (
    Gpu("RTX 4090", 24, 23.5, 165.0, 1008, 32),
    Gpu("L40S", 48, 44.4, 362.0, 864, 32),
    Gpu("A100", 80, 79.2, 312.0, 2039, 300),
    Gpu("H100", 80, 79.1, 989.0, 3350, 450),
    Gpu("H200", 141, 139.7, 989.0, 4800, 450),
)
# Taken for a card that is not listed: what is fastest on a card of middling speed is rarely slow
# on another.
MIDDLING = next(card for card in CARDS if card.name == "A100")


def gpu_named(name: str) -> Gpu | None:
    """Return the listed card that CUDA calls so: `NVIDIA A100-SXM4-80GB` is an `A100`."""
    words = name.replace("-", " ").split()
    return next((one for one in CARDS if all(w in words for w in one.name.split())), None)
