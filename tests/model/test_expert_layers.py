"""LoRA on stacked experts: PEFT's gradients, PEFT's files, and what cannot be computed."""

from importlib.metadata import version

import pytest
import torch
from support.experts import IDS, adapted, apart, gradients, load, plain_twin, saved

from anima_exp.config import (
    ActivationCheckpointing,
    LoraConfig,
    LoraInit,
    LoraVariant,
    TargetModules,
)
from anima_exp.errors import AnimaError, ModelError
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing
from anima_exp.model.adapter import add_lora, load_adapter
from anima_exp.model.linear_layers import target_modules

pytestmark = pytest.mark.usefixtures("shown")


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "gpt_oss", "llama4"])
def test_adapters_of_experts_get_the_gradients_of_peft(family, tmp_path):
    folder = saved(tmp_path, family)
    base = load(folder)
    twin = adapted(plain_twin(base, folder))
    model = adapted(base)
    lora_linear.install(model)
    ours, of_ours = gradients(model)
    theirs, of_theirs = gradients(twin)  # PEFT's ParamWrapper, and transformers' experts
    assert apart(ours, theirs) < 1e-5
    assert of_ours.keys() == of_theirs.keys()
    assert any("experts" in name for name in of_ours)
    for name, gradient in of_ours.items():
        assert apart(gradient, of_theirs[name]) < 1e-4, name


@pytest.mark.parametrize("how", ["full", "selective"])
def test_activation_checkpointing_computes_the_same_gradients(how, tmp_path):
    model = adapted(load(saved(tmp_path, "qwen3_moe"))).train()
    lora_linear.install(model)
    logits, expected = gradients(model)
    apply_activation_checkpointing(model, ActivationCheckpointing(how))
    again, found = gradients(model)
    assert torch.equal(logits, again)
    assert found.keys() == expected.keys()
    assert all(apart(found[name], expected[name]) < 1e-6 for name in expected)


@pytest.mark.parametrize("family", ["qwen3_moe", "deepseek_v3", "llama4"])
@pytest.mark.parametrize("experts", [True, False])
def test_a_saved_adapter_is_loaded_again_as_it_was(family, experts, tmp_path):
    folder = saved(tmp_path / "base", family)
    model = adapted(load(folder), experts=experts)
    lora_linear.install(model)
    model.save_pretrained(tmp_path / "adapter")
    again = load_adapter(load(folder), str(tmp_path / "adapter"))
    lora_linear.use_if_plain(again)
    assert torch.equal(model(input_ids=IDS).logits, again(input_ids=IDS).logits)
    with again.disable_adapter():
        assert torch.equal(again(input_ids=IDS).logits, load(folder)(input_ids=IDS).logits)


@pytest.mark.skipif(
    version("peft").startswith("0.19."), reason="PEFT 0.19 does not know transformers 5.2x"
)
def test_peft_itself_loads_an_adapter_of_experts(tmp_path):
    from peft import PeftModel

    folder = saved(tmp_path / "base", "qwen3_moe")
    base = load(folder)
    twin = plain_twin(base, folder)
    model = adapted(base)
    lora_linear.install(model)
    model.save_pretrained(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(twin, tmp_path / "adapter")
    assert apart(model(input_ids=IDS).logits, theirs(input_ids=IDS).logits) < 1e-5


def test_all_linear_layers_of_a_mixture_get_adapters_and_the_run_says_what_experts_get(
    tmp_path, capsys
):
    folder = saved(tmp_path, "deepseek_v3")
    model = adapted(load(folder), experts=False)
    assert "in nf4, frozen and without an adapter (lora.experts=true adds one)" in (
        capsys.readouterr().out
    )
    names = {name for name, _ in model.named_parameters() if "lora_A" in name}
    assert any("shared_experts.down_proj" in name for name in names)
    assert any("layers.0.mlp.down_proj" in name for name in names)  # a dense first block
    assert not any("mlp.experts" in name for name in names)


def test_the_router_stays_frozen(tmp_path):
    saved(tmp_path, "deepseek_v3")
    model = adapted(load(tmp_path), experts=True)
    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    assert trained
    assert not any(".gate." in name for name in trained)


def test_a_gate_that_is_a_linear_layer_gets_an_adapter_only_by_its_name():
    from support.small_models import small

    model = small(
        "qwen2_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
    )  # fmt: skip
    assert not any("gate" in one.replace("gate_proj", "") for one in target_modules(
        model, TargetModules.all_linear
    ))  # fmt: skip
    assert target_modules(model, TargetModules.named, ["shared_expert_gate"])


@pytest.mark.parametrize(
    ("family", "settings", "words"),
    [
        ("mixtral", {"dropout": 0.1}, r"lora\.dropout=0\.1 .* Set lora\.dropout=0 with lora\.exp"),
        ("mixtral", {"variant": LoraVariant.dora}, r"lora\.variant=dora cannot .* or rslora"),
        ("mixtral", {"init": LoraInit.pissa}, r"lora\.init=pissa cannot .* lora\.init=kaiming"),
        ("llama", {}, r"LlamaForCausalLM has none"),
    ],
)
def test_what_cannot_be_computed_is_one_line(family, settings, words, tmp_path):
    saved(tmp_path, family)
    chosen = {"dropout": 0.0} | settings
    lora = LoraConfig(target_modules=TargetModules.all_linear, experts=True, **chosen)
    with pytest.raises(AnimaError, match=words):
        add_lora(load(tmp_path), lora)


def test_rank_stabilized_adapters_of_experts_are_those_of_peft(tmp_path):
    folder = saved(tmp_path, "qwen3_moe")
    base = load(folder)
    twin = adapted(plain_twin(base, folder), variant=LoraVariant.rslora)
    model = adapted(base, variant=LoraVariant.rslora)
    lora_linear.install(model)
    assert apart(gradients(model)[0], gradients(twin)[0]) < 1e-5


def test_an_adapter_of_experts_is_trained_further(tmp_path):
    from anima_exp.cli import adapter_settings

    folder = saved(tmp_path / "base", "qwen3_moe")
    adapted(load(folder)).save_pretrained(tmp_path / "adapter")
    read = adapter_settings.read(str(tmp_path / "adapter"))
    assert read.experts
    assert "lora.experts=true" in read.overrides()
    lora = LoraConfig(
        target_modules=TargetModules.named, modules=read.layers, rank=4, experts=True, dropout=0.0
    )
    model = load_adapter(load(folder), str(tmp_path / "adapter"), trained_with=lora)
    lora_linear.install(model)
    _, found = gradients(model)
    assert any("experts" in name and bool(one.any()) for name, one in found.items())


def test_experts_in_4_bits_cannot_be_sharded(tmp_path):
    from anima_exp.model import fsdp
    from anima_exp.model.forward import decoder_of

    model = load(saved(tmp_path, "mixtral"))
    with pytest.raises(ModelError, match=r"trainer\.fsdp=true cannot shard experts"):
        fsdp._check(model, fsdp._blocks(decoder_of(model)))
