"""What the check expects of the rows, and why: the limits of the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from check.rows import Row


@dataclass(frozen=True)
class Expected:
    """One value of the rows of one name, and the range that it must be in."""

    part: str
    row: str
    value: str
    why: str
    least: float | None = None
    most: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)  # of these rows alone
    optional: bool = False  # rows without it are no gap
    on_hollow: bool = False  # real also on a hollow GPU, whose memory and limits are
    about_time: bool = False  # a processor that is busy can spoil it: said, but never "wrong"

    def applies(self, row: Row) -> bool:
        named = row["part"] == self.part and row["row"] == self.row
        return named and all(row.get(key) in _several(one) for key, one in self.where.items())

    def holds(self, value: Any) -> bool:
        number = float(value)
        if self.least is not None and not number >= self.least:
            return False
        return self.most is None or number <= self.most

    @property
    def range(self) -> str:
        if self.least is not None and self.least == self.most:
            return f"exactly {self.least:g}"
        ends = (("at least", self.least), ("at most", self.most))
        return " and ".join(f"{words} {end:g}" for words, end in ends if end is not None)


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


_BIT = "The mask is made of integers, which every device computes alike."
_BF16 = (
    "bf16 rounds to 1/256 at most, 0.2 % on average. The same comparison on a CPU in bf16 differs "
    "by 0.002 to 0.004."
)
_FP32 = "fp32 rounds to 1e-7, and sums differ in their order. TF32 would be 2e-4 and show."
_CURVE = "It is the mean loss of all steps beside that of the CPU's run in fp32."
_FIRST = "Before the first update only rounding differs."
_SIXTEEN = ("torch.bfloat16", "torch.float16")


def _in_16_bits(row: str, key: str, values: tuple[str, ...]) -> list[Expected]:
    return [
        Expected("kernels", row, value, _BF16, most=0.01, where={key: _SIXTEEN}) for value in values
    ]


def _in_fp32(row: str, key: str, values: tuple[str, ...], most: float) -> list[Expected]:
    return [
        Expected("kernels", row, value, _FP32, most=most, where={key: "torch.float32"})
        for value in values
    ]


_ATTENTION = ("result", "d_query", "d_key", "d_value")
_LORA = ("result", "d_x", "d_a", "d_b")
_MASK_SPEED = (
    "A mask reads a number and writes one, as a copy does: about 1 if memory limits it. Five "
    "copies would be the time of torch's own operations one after the other."
)

_ALIKE = (
    "GPU bf16, a row a pass", "GPU bf16, recompute full", "GPU bf16, recompute selective",
    "GPU bf16, adamw", "GPU bf16, 8-bit optimizer", "GPU bf16, rank 512, not paged",
    "killed and resumed",
)  # fmt: skip

EXPECTED = [
    Expected("machine", "versions", "native", "Without its own library bitsandbytes cannot work.",
             least=1, most=1),
    Expected("machine", "product", "tflops", "A GPU of the last years has 60 at least.",
             least=50, about_time=True),
    Expected("machine", "host", "microseconds", "A launch takes 3 to 10 us on an idle host; a step "
             "of 7B has thousands of them.", most=25, about_time=True),
    Expected("kernels", "packing", "levels_alike", "GPU and CPU compare with the same borders. A "
             "number that rounding puts on a border may differ: one in 10,000 is generous.",
             least=0.9999),
    Expected("kernels", "packing", "unpacked_apart", "The same bytes and constants mean the same "
             "numbers: a product of two in fp32.", most=1e-6, where={"of": "torch.float32"}),
    Expected("kernels", "packing", "unpacked_apart", "The same product, rounded to bf16.",
             most=0.004, where={"of": "torch.bfloat16"}),
    Expected("kernels", "packing", "rounding", "A CPU rounds these weights by 0.092 (NF4) and "
             "0.122 (FP4) of their length.", least=0.08, most=0.13),
    *_in_16_bits("attention", "dtype", _ATTENTION),
    *_in_fp32("attention", "dtype", _ATTENTION, 5e-5),
    Expected("kernels", "mask", "as_cpu", _BIT, least=1, most=1),
    Expected("kernels", "mask", "as_eager", _BIT, least=1, most=1),
    Expected("kernels", "mask", "in_place_as_cpu", _BIT, least=1, most=1),
    Expected("kernels", "mask", "zeros", "One number in ten is dropped.", least=0.08, most=0.12),
    Expected("kernels", "mask", "by_triton", "Without Triton or a C compiler the mask takes ten "
             "kernels in place of one.", least=1, about_time=True),
    Expected("kernels", "mask speed", "copies", _MASK_SPEED, most=2, about_time=True),
    *[
        Expected("kernels", "lora layer", value, _BF16, most=0.01,
                 where={"dtype": _SIXTEEN, "quant": ("nf4", "none")})
        for value in _LORA
    ],
    *_in_fp32("lora layer", "dtype", _LORA, 5e-5),
    Expected("kernels", "lora layer", "result", "LLM.int8() rounds inputs to 1/127 of the largest "
             "of their row: about 0.8 % on average.", most=0.03, where={"quant": "int8"}),
    *[
        Expected("kernels", "lora layer", value, f"The backward pass rounds no input. {_BF16}",
                 most=0.01, where={"quant": "int8"})
        for value in _LORA[1:]
    ],
    Expected("kernels", "loss", "loss_apart", "Sums are in fp32 in every precision; on a CPU in "
             "bf16 it differs by 1e-5.", most=1e-3),
    *_in_16_bits("loss", "type", ("d_hidden",)),
    *_in_fp32("loss", "type", ("d_hidden",), 5e-5),
    Expected("kernels", "optimizer", "large_apart", "AdamW in fp32 has one result to rounding.",
             most=1e-4, where={"optimizer": ("adamw", "paged_adamw_32bit")}),
    Expected("kernels", "optimizer", "large_apart", "States in 8 bits: 0.016 with bitsandbytes on "
             "a CPU, at three times that something else is wrong.", most=0.05,
             where={"optimizer": "paged_adamw_8bit"}),
    Expected("kernels", "optimizer", "small_apart", "Small weights have states in fp32. "
             "They are about 1, and 20 steps move them by 0.004 only.", most=1e-3),
    Expected("tiny", "run", "first_apart", f"{_FIRST} TF32 rounds to 1/2048.", most=0.001,
             where={"run": "GPU fp32"}),
    Expected("tiny", "run", "loss_apart", f"{_CURVE} Products are in TF32, which rounds to 1/2048.",
             most=0.005, where={"run": "GPU fp32"}),
    Expected("tiny", "run", "first_apart", f"{_FIRST} It is 0.001 on a CPU in bf16.", most=0.005,
             where={"run": ("GPU bf16", "GPU fp16")}),
    Expected("tiny", "run", "loss_apart", f"{_CURVE} It is 0.0017 on a CPU in bf16.", most=0.02,
             where={"run": ("GPU bf16", "GPU fp16")}),
    Expected("tiny", "run", "step_apart", "It is 0.024 at one step on a CPU in bf16.", most=0.06,
             where={"run": ("GPU bf16", "GPU fp16")}),
    Expected("tiny", "run", "first_apart", f"{_FIRST} The order of sums is all that does here.",
             most=0.002, where={"run": _ALIKE}),
    Expected("tiny", "run", "loss_apart", "The same numbers in another order, in bf16: 0.0003 to "
             "0.001 on a CPU.", most=0.01, where={"run": _ALIKE}),
    Expected("tiny", "run", "loss_apart", "Another rounding of the base learns a little "
             "differently: 0.017 on a CPU.", most=0.05, where={"run": "GPU bf16, int8 base"}),
    Expected("tiny", "run", "heldout_gain", "Twelve steps lower the held-out loss.", least=0.01),
    Expected("tiny", "run", "beyond_plan_gib", "Workspaces of cuBLAS are 0.03 GiB or so, and "
             "blocks of the allocator are rounded up.", least=-0.1, most=0.15),
    Expected("tiny", "run", "starts", "The killed run went on from its checkpoint.", least=2,
             where={"run": "killed and resumed"}),
    Expected("tiny", "run", "paged_share", "A resumed run pages as much as one that was never "
             "killed.", least=1, most=1, where={"run": "killed and resumed"}),
    Expected("memory", "run", "out_of_memory", "A GPU that is too small is noticed and counted.",
             least=1, where={"run": ("80% of that memory", "50% of that memory")}, on_hollow=True),
    Expected("memory", "run", "loss_apart", "A step that is done again in smaller passes has the "
             "same gradient, but for the order of sums in bf16.", most=0.01,
             where={"run": ("80% of that memory", "50% of that memory")}),
    *[
        Expected(part, "training", "peak_of_predicted", "The plan decides by this number what "
                 "fits.", least=0.9, most=1.1, on_hollow=True)
        for part in ("speed", "large")
    ],
    *[
        Expected(part, "training", "out_of_memory", "What the plan lets begin must fit.", most=0,
                 on_hollow=True)
        for part in ("speed", "large")
    ],
    Expected("speed", "training", "share_of_peak", "By arithmetic, 53 % of the peak with 16 x 512 "
             "tokens on an H200; half of that is a sign of a mistake.", least=0.27,
             where={"rows": "16 x 512", "settings": ""}, about_time=True),
    Expected("speed", "training", "busy_share", "Below 0.9 the GPU waits for the host.", least=0.9,
             where={"rows": "16 x 512", "settings": ""}, about_time=True),
    Expected("speed", "training", "times_trl", "Measured in the same run: ours should be faster.",
             least=1, where={"settings": ""}, optional=True, about_time=True),
    Expected("use", "command", "seconds", "The command has ended well.", least=0),
    Expected("use", "answer", "tokens_a_second", "Launches limit it to some ten tokens a second "
             "and row; ten times less is a plan of cuDNN for each length.", least=5,
             where={"attention": "as the project chooses"}, about_time=True),
]  # fmt: skip
