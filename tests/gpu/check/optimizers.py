"""AdamW of torch and of bitsandbytes, 20 steps on the GPU, against torch's on a CPU in fp32."""

from pathlib import Path

import torch
from torch import nn

from anima_exp.config import OptimizerConfig, OptimizerName
from anima_exp.libraries.bitsandbytes_internals import paged_bytes
from anima_exp.training.optimizer import make_optimizer
from check.rows import Row, Rows
from check.timing import apart, device_seconds

STEPS, RATE = 20, 2e-4


class Weights(nn.Module):
    """A large weight, whose states are paged or in 8 bits, and a small one, whose are not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.large = nn.Parameter(torch.randn(1024, 512) / 32)
        self.small = nn.Parameter(torch.randn(64))


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    for name in OptimizerName:
        rows.attempt("optimizer", {"optimizer": name.value}, compared, name, device)


def compared(name: OptimizerName, device: str) -> Row:
    """Return how far the way of each weight is from that of the CPU."""
    config = OptimizerConfig(name=name, learning_rate=RATE)
    model, right, start = Weights().to(device), Weights(), Weights()
    ours = make_optimizer(model, config)
    theirs = torch.optim.AdamW(
        right.parameters(),
        lr=RATE,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )
    for step in range(STEPS):
        for mine, his in zip(model.parameters(), right.parameters(), strict=True):
            torch.manual_seed(step + 1)
            # A direction that stays and noise, as gradients of a batch have.
            his.grad = 0.01 * (torch.randn(his.shape) + his.detach())
            mine.grad = his.grad.to(device)
        ours.step()
        theirs.step()
    apart_by_name = {
        f"{key}_apart": apart(
            dict(model.named_parameters())[key].detach().cpu() - begin, end.detach() - begin
        )
        for (key, begin), (_, end) in zip(
            start.named_parameters(), right.named_parameters(), strict=True
        )
    }
    seconds = device_seconds(ours.step)
    paged = sum(paged_bytes(ours).values())
    return {**apart_by_name, "microseconds": seconds * 1e6, "paged_bytes": paged}
