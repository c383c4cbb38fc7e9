"""Modules that mix tokens outside attention compute each row of a packed pass as if alone."""

import pytest
import torch
from support.families.small_configs import small_model
from support.small_models import some_rows
from torch import nn

from anima_exp.config import LoraConfig, LossNormalization, Precision, TargetModules
from anima_exp.model import lora_linear
from anima_exp.model.adapter import add_lora
from anima_exp.model.architecture_check import probe_architecture
from anima_exp.model.row_mixers import Rows, by_row, mixers
from anima_exp.model.varlen_attention import disable_packing, supports_packing
from anima_exp.training.step import GradientStep

HYBRIDS = ["qwen3_next", "falcon_h1", "lfm2", "olmo_hybrid", "rwkv"]


class Sum(nn.Module):
    """Each token is the sum of itself and all before it; a state comes with the result."""

    def forward(self, hidden_states, scale=None, mask=None, *, cu_seq_lens_q=None):
        assert cu_seq_lens_q is None
        total = hidden_states.cumsum(1) * (1 if scale is None else scale[0])
        return total, total[:, -1]


def test_a_mixer_starts_anew_with_each_row_and_gets_its_part_of_every_argument():
    module, rows = Sum(), Rows()
    rows.lengths = (2, 3)
    x = torch.ones(1, 5, 1)
    scale = (torch.arange(5.0).view(1, 5, 1),)
    with by_row([module], rows):
        found, state = module(x, scale=scale, cu_seq_lens_q=torch.tensor([0, 2, 5]))
    assert found.flatten().tolist() == [0, 2, 2, 6, 12]
    assert state.tolist() == [[12]]
    assert "forward" not in vars(module)


def test_one_row_is_passed_on_as_it_is():
    module, rows = Sum(), Rows()
    with by_row([module], rows):
        rows.lengths = (5,)
        found, _ = module(torch.ones(1, 5, 1))
    assert found.flatten().tolist() == [1, 2, 3, 4, 5]


def test_a_forward_pass_that_was_replaced_before_is_called_and_put_back():
    module, rows = Sum(), Rows()
    module.forward = own = lambda x: x + 1
    rows.lengths = (1, 1)
    with by_row([module], rows):
        assert module(torch.ones(1, 2, 1)).flatten().tolist() == [2, 2]
    assert module.forward is own


def test_a_module_inside_a_mixer_is_not_called_by_row_again():
    names = {type(module).__name__ for module in mixers(small_model("qwen3_next"))}
    assert names == {"Qwen3NextGatedDeltaNet"}


@pytest.mark.parametrize("family", HYBRIDS)
def test_dropout_in_a_packed_hybrid_is_that_of_each_row_alone(family):
    model = small_model(family).requires_grad_(False).eval()
    probe_architecture(model)
    assert supports_packing(model)
    torch.manual_seed(1)
    which = TargetModules.attention if family in ("qwen3_next", "falcon_h1") else "all_linear"
    model = add_lora(model, LoraConfig(target_modules=TargetModules(which), rank=4, dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.05)
    step = GradientStep(
        model.train(), lora_linear.install(model), budget=1000, precision=Precision.fp32,
        average=LossNormalization.token, seed=0, backward=torch.Tensor.backward, say=print,
    )  # fmt: skip
    losses, gradients = [], []
    for _ in range(2):
        losses.append(float(step(some_rows(), number=3)))
        gradients.append(torch.cat([p.grad.flatten() for p in step.trainable_parameters]))
        model.zero_grad()
        disable_packing(model, "compare")  # so the second pass computes each row alone
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-3
