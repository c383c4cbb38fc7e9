"""One grouped product of torch is what multiplying each expert alone gives."""

import pytest
import torch
from torch.nn import functional

from anima_exp.model import expert_products
from anima_exp.model.expert_products import Routing, product, sums_of_products


@pytest.mark.skipif(not hasattr(functional, "grouped_mm"), reason="torch is older than 2.10")
def test_grouped_products_are_those_of_each_expert(monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator).bfloat16()

    experts = torch.randint(0, 4, (40,), generator=generator).sort().values  # the fifth has no rows
    routing = Routing.of(experts, 5)
    assert routing.counts.tolist() == torch.bincount(experts, minlength=5).tolist()
    x, y, narrow = numbers(40, 64), numbers(40, 32), numbers(40, 8)
    out_in, in_out = numbers(5, 32, 64), numbers(5, 64, 32)

    def every():
        return [
            product(x, lambda: out_in, out_in.__getitem__, routing, turned=True),
            product(x, lambda: in_out, in_out.__getitem__, routing, turned=False),
            sums_of_products(y, x, routing),
            sums_of_products(narrow, x, routing),
            sums_of_products(y, narrow, routing),
        ]

    alone = every()
    monkeypatch.setattr(expert_products, "_grouped", lambda x: True)
    for one, expected in zip(every(), alone, strict=True):
        assert torch.allclose(one.float(), expected.float(), rtol=0.02, atol=0.1)
    assert torch.equal(alone[0][:3], x[:3] @ out_in[experts[0]].T)
    assert not alone[2][4].any()
