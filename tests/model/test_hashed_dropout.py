import torch

from anima_exp.model import hashed_dropout
from anima_exp.model.hashed_dropout import DropoutKeys, Mask, kept_share, layer_key, token_keys

CPU = torch.device("cpu")


def mask(step=0, rows=(0,), lengths=(500,), layer="q_proj", width=301, share=0.1, seed=0):
    keys = token_keys(seed, step, rows, lengths, CPU)
    return Mask(keys, layer_key(layer), share).of(torch.ones(len(keys), width)) == 0


def correlation(a, b):
    """Of every column of `a` with the same column of `b`: [columns]."""
    a, b = (one.float() - one.float().mean(0) for one in (a, b))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))


def test_about_the_asked_share_is_dropped_in_every_column_and_row():
    for share in (0.05, 0.1, 0.5):
        found = mask(lengths=(4000,), share=share).float()
        assert abs(found.mean() - share) < 0.001
        for means, count in ((found.mean(0), 4000), (found.mean(1), 301)):
            spread = (share * (1 - share) / count) ** 0.5
            assert abs(means.std() / spread - 1) < 0.15  # as far apart as chance has them
            assert (means - share).abs().max() < 5.5 * spread


def test_what_is_not_dropped_is_left_as_it_was():
    keys = token_keys(0, 0, [0], [40], CPU)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(40, 9, dtype=dtype)
        mask = Mask(keys, 1, 0.3)
        found = mask.of(x)
        assert torch.equal(found, torch.where(found == 0, 0.0, x))
        assert 0 < (found == 0).sum() < 200
        also = torch.ones_like(x)
        assert torch.equal(mask.of(x, also=also), found)
        assert torch.equal(also, (found != 0).to(dtype))
    assert kept_share(0.25) == 0.75 and abs(kept_share(0.1) - 0.9) < 1e-5


def test_layers_steps_rows_seeds_and_columns_have_masks_of_their_own():
    one = mask()
    spread = 500**-0.5
    others = [mask(layer="k_proj"), mask(step=1), mask(rows=(1,)), mask(seed=1)]
    for other in [*others, one.roll(1, dims=1), one.roll(1, dims=0), one.roll(2, dims=1)]:
        found = correlation(one, other)
        assert abs(found.mean()) < 5 * spread / 301**0.5
        assert abs(found.std() / spread - 1) < 0.2


def test_a_rows_mask_does_not_depend_on_the_rows_beside_it():
    together = mask(rows=(4, 7, 2), lengths=(5, 9, 3))
    alone = [mask(rows=(row,), lengths=(n,)) for row, n in ((4, 5), (7, 9), (2, 3))]
    assert torch.equal(together, torch.cat(alone))


def test_keys_that_nobody_set_follow_torchs_seed():
    keys, other = DropoutKeys(), DropoutKeys()
    torch.manual_seed(3)
    first, second = keys.of(8, CPU), keys.of(8, CPU)
    torch.manual_seed(3)
    assert torch.equal(other.of(8, CPU), first)
    assert not torch.equal(first, second)


def test_the_kernel_gets_numbers_in_order_whatever_the_layer_was_given(monkeypatch):
    def drop(x, keys, layer, threshold, also):
        assert x.is_contiguous()
        return x.clone()

    monkeypatch.setattr(hashed_dropout, "_kernel", lambda x: drop)
    keys = token_keys(0, 0, [0], [4], CPU)
    wide = torch.randn(6, 10)
    for x in (wide[:4, :5], wide.T[:4]):
        assert torch.equal(Mask(keys, 1, 0.3).of(x), x)
