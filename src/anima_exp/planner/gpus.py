"""Data sheets of GPUs, and the fraction of their nominal speeds that a run is expected to reach."""

from dataclasses import dataclass

from anima_exp.planner.memory import GIB

# Memory that CUDA, its libraries and kernels take before the first tensor. An assumption.
CONTEXT_GIB = 0.7
# Fractions of the nominal speeds that kernels reach. These are ESTIMATES until they are measured.
# The best products on an H200 reach 80 % of its nominal arithmetic, and those of a training step
# are assumed to reach 80 % of that. Kernels that only read and write reach 70 % of the bandwidth.
PRODUCT_SHARE = 0.64
BANDWIDTH_SHARE = 0.70
# Fraction of the nominal link bandwidth that all-reduce and all-gather reach. An assumption.
LINK_SHARE = 0.50
PAGING_GB = 20  # per second, between GPU and CPU memory. An assumption.


@dataclass(frozen=True)
class Gpu:
    """A type of GPU."""

    name: str
    memory_gb: int  # nominal
    visible_gib: float  # as CUDA reports it
    teraflops: float  # bf16 on dense matrices, accumulated in fp32, from the data sheet
    bandwidth_gb: float  # per second, from the data sheet
    link_gb: float  # per second, each way to the other GPUs: NVLink, or 16 lanes of PCIe 4.0
    expandable: bool = True  # whether torch's memory segments can grow: system/hardware.py

    @property
    def available(self) -> float:
        """Bytes that tensors may take."""
        return (self.visible_gib - CONTEXT_GIB) * GIB

    def computing(self, operations: float, *, in_fp32: bool) -> float:
        """Return the seconds that matrix products of so many operations take."""
        teraflops = self.teraflops / 2 if in_fp32 else self.teraflops  # as TF32
        return operations / (PRODUCT_SHARE * teraflops * 1e12)

    def moving(self, count: float) -> float:
        """Return the seconds to read or write so many bytes of the GPU's memory."""
        return count / (BANDWIDTH_SHARE * self.bandwidth_gb * 1e9)

    def paging(self, count: float) -> float:
        """Return the seconds to move so many bytes between the GPU and CPU memory."""
        return count / (PAGING_GB * 1e9)

    def gathering(self, count: float, num_gpus: int) -> float:
        """Return the seconds of an all-gather, after which each GPU has all `count` bytes."""
        return (num_gpus - 1) / num_gpus * count / (LINK_SHARE * self.link_gb * 1e9)

    def summing(self, count: float, num_gpus: int) -> float:
        """Return the seconds of an all-reduce of `count` bytes."""
        return 2 * self.gathering(count, num_gpus)


GPU_TYPES = (
    Gpu("RTX 4090", 24, 23.5, 165.0, 1008, 32),
    Gpu("L40S", 48, 44.4, 362.0, 864, 32),
    Gpu("A100", 80, 79.2, 312.0, 2039, 300),
    Gpu("H100", 80, 79.1, 989.0, 3350, 450),
    Gpu("H200", 141, 139.7, 989.0, 4800, 450),
)
# Used for a GPU that is not listed: what is fastest on a GPU of medium speed is rarely slow on
# another.
DEFAULT_GPU = next(gpu_type for gpu_type in GPU_TYPES if gpu_type.name == "A100")


def gpu_named(name: str) -> Gpu | None:
    """Return the type for a name that CUDA reports: `NVIDIA A100-SXM4-80GB` is an `A100`."""
    words = name.replace("-", " ").split()
    return next((one for one in GPU_TYPES if all(w in words for w in one.name.split())), None)
