"""Copies of A and B in the type of the products."""

import torch
from peft import LoraConfig, get_peft_model
from support.small_models import small

from anima_exp.model.cast_weights import cast, cast_once
from anima_exp.model.lora_linear import lora_weights


def test_inside_a_weight_has_one_copy_and_outside_a_fresh_one():
    weight, other = torch.nn.Parameter(torch.randn(3, 5)), torch.nn.Parameter(torch.randn(7, 2))
    with cast_once([weight, other], torch.bfloat16):
        kept = cast(weight, torch.bfloat16)
        assert kept is cast(weight, torch.bfloat16)
        assert torch.equal(kept, weight.to(torch.bfloat16)) and not kept.requires_grad
        assert torch.equal(cast(other, torch.bfloat16), other.to(torch.bfloat16))
        assert cast(weight, torch.float16).dtype is torch.float16
    weight.data.add_(1)
    assert torch.equal(cast(weight, torch.bfloat16), weight.to(torch.bfloat16))


def test_a_weight_of_the_wanted_type_is_not_copied():
    weight = torch.nn.Parameter(torch.randn(3, 5))
    with cast_once([weight], torch.float32):
        assert cast(weight, torch.float32).data_ptr() == weight.data_ptr()


def test_an_error_inside_leaves_no_copy():
    weight = torch.nn.Parameter(torch.randn(3, 5))
    try:
        with cast_once([weight], torch.bfloat16):
            raise MemoryError
    except MemoryError:
        pass
    assert not hasattr(weight, "kept_copy")


def test_a_second_use_inside_leaves_the_copies_of_the_first():
    weight = torch.nn.Parameter(torch.randn(3, 5))
    with cast_once([weight, weight], torch.bfloat16):
        kept = cast(weight, torch.bfloat16)
        with cast_once([weight], torch.bfloat16):
            assert cast(weight, torch.bfloat16) is kept
        assert cast(weight, torch.bfloat16) is kept
    assert not hasattr(weight, "kept_copy")


def test_empty_weights_of_several_shapes_have_copies_of_their_own():
    several = [torch.nn.Parameter(torch.randn(shape)) for shape in ((0, 5), (7, 0))]
    with cast_once(several, torch.bfloat16):
        assert [cast(one, torch.bfloat16).shape for one in several] == [(0, 5), (7, 0)]


def test_only_loras_weights_are_cast():
    model = get_peft_model(small(), LoraConfig(r=4, target_modules=["q_proj"]))
    model.get_output_embeddings().weight.requires_grad_()
    expected = {id(one) for name, one in model.named_parameters() if "lora_" in name}
    assert {id(one) for one in lora_weights(model)} == expected
    assert lora_weights(small()) == []
