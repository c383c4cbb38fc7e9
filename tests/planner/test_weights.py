"""The bytes of weights, gradients and optimizer states are those of the real tensors."""

import json
import warnings

import pytest
import torch
from bitsandbytes.nn import Linear8bitLt

from anima_exp.errors import ModelError
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import load_base
from anima_exp.model.lora_start import starts
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.shape import from_model
from anima_exp.planner.weights import base_weights, trained

ODD = {  # sizes that no block of 64, or 256 blocks, divides
    "model_type": "llama",
    "hidden_size": 100,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "intermediate_size": 333,
    "vocab_size": 211,
}
QWEN = ODD | {"model_type": "qwen3", "hidden_size": 96, "head_dim": 24, "tie_word_embeddings": True}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from transformers import AutoConfig, AutoModelForCausalLM

    folders = {}
    for name, config in {"llama": ODD, "qwen3": QWEN}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).save_pretrained(
            folders[name]
        )
        assert json.loads((folders[name] / "config.json").read_text())["model_type"] == name
    return folders


def loaded(config):
    full = config.lora.target_modules.value == "none"
    return load_base(config.model, config.quant, precision=config.trainer.precision, trainable=full)


def bytes_of(*tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def bytes_in_memory(model):
    """Of all parameters, and of what bitsandbytes keeps beside them but its lookup tables."""
    found = bytes_of(*model.parameters())
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            found += bytes_of(state.absmax)
            if state.nested:
                found += bytes_of(state.state2.absmax, state.offset)
    for module in model.modules():
        if isinstance(module, Linear8bitLt):  # after its first use they lie elsewhere
            scales = module.weight.SCB if module.state.SCB is None else module.state.SCB
            found += bytes_of(scales)
    return found


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize(
    "how",
    [
        ["quant=nf4"],
        ["quant=nf4", "quant.double_quant=false"],
        ["quant=fp4", "trainer.precision=bf16"],
        ["quant=int8", "trainer.precision=bf16"],
        ["quant=none", "trainer.precision=bf16"],
        ["quant=nf4", "model.norms_in_fp32=true"],
        ["quant=none", "lora=full_finetune"],
    ],
    ids=" ".join,
)
def test_the_base_is_counted_to_the_byte(compose, saved, family, how):
    config = compose("model=local", f"model.source={saved[family]}", *how)
    counted = base_weights(find_shape(config.model), config)
    assert sum(kind.total for kind in counted) == bytes_in_memory(loaded(config))


def test_a_quantized_model_has_the_shape_of_its_config(compose, saved):
    config = compose("model=local", f"model.source={saved['llama']}")
    assert from_model(loaded(config)) == find_shape(config.model)


@pytest.mark.parametrize("optimizer", ["adamw", "paged_adamw_32bit", "paged_adamw_8bit"])
@pytest.mark.parametrize(
    "lora", ["lora.rank=48", "lora.dtype=bf16", "lora=full_finetune", "lora=key_query"]
)
def test_gradients_and_states_are_counted_to_the_byte(compose, saved, optimizer, lora):
    quant = "quant=none" if lora == "lora=full_finetune" else "quant=nf4"
    place = f"model.source={saved['llama']}"
    config = compose("model=local", place, f"optimizer={optimizer}", lora, quant)
    model = add_lora(loaded(config), config.lora)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    states = states_after_a_step(learning, config)
    counted = trained(find_shape(config.model), config)
    assert counted.parameters == sum(parameter.numel() for parameter in learning)
    assert counted.gradients == bytes_of(*(parameter.grad for parameter in learning))
    if lora != "lora=full_finetune" or optimizer != "paged_adamw_8bit":
        assert counted.optimizer == states
    else:  # there the norms, which stay in 32 bits, are taken as one tensor
        assert counted.optimizer == pytest.approx(states, rel=0.01)
    if lora != "lora=full_finetune":
        assert counted.weights == bytes_of(*learning)


@pytest.mark.parametrize("family", ["llama", "qwen3"])  # the second ties embeddings and head
@pytest.mark.parametrize(
    "lora",
    [
        ["lora.variant=dora"],
        ["lora.init=pissa"],
        ["lora.rank_pattern=['(q|up)_proj:6',model.layers.1.mlp.down_proj:3]"],
        ["lora.target_modules=named", "lora.modules=['.*layers.1.*']"],
        ["lora.train_embeddings=true"],
        ["lora.save_modules=[norm]"],
    ],
    ids=" ".join,
)
def test_what_a_variant_trains_is_counted_to_the_byte(compose, saved, family, lora):
    place = f"model.source={saved[family]}"
    config = compose("model=local", place, "optimizer=adamw", "lora.rank=8", *lora)
    model = add_lora(loaded(config), config.lora, config.model)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    counted = trained(find_shape(config.model), config)
    assert counted.parameters == sum(parameter.numel() for parameter in learning)
    assert counted.tensors == len(learning)
    assert counted.gradients == bytes_of(*learning)
    assert counted.weights == bytes_of(*learning, *starts(model).values())
    assert counted.optimizer == states_after_a_step(learning, config)


def test_a_name_that_matches_no_layer_is_one_line(compose):
    config = compose("lora.target_modules=named", "lora.modules=['.*layers.9.*']")
    with pytest.raises(ModelError, match=r"^lora.modules: .* matches no layer. The linear layers"):
        trained(find_shape(config.model), config)


def states_after_a_step(learning, config):
    from bitsandbytes.optim import AdamW

    if config.optimizer.name.value == "adamw":
        optimizer = torch.optim.AdamW(learning)
    else:
        bits = 8 if "8bit" in config.optimizer.name.value else 32
        optimizer = AdamW(learning, optim_bits=bits, is_paged=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.step()
    shared = ("step", "qmap1", "qmap2")  # one number, and two tables that all tensors use
    return sum(
        bytes_of(value)
        for state in optimizer.state.values()
        for key, value in state.items()
        if key not in shared and isinstance(value, torch.Tensor)
    )


@pytest.mark.parametrize(("size", "printed"), [("7b", 5), ("13b", 10), ("33b", 21), ("65b", 41)])
def test_the_4_bit_bases_are_below_what_the_paper_prints_for_inference(compose, size, printed):
    # Table 6 counts what answering takes; weights are most of it, and never more.
    config = compose(f"model=llama{size}")
    weights = sum(kind.total for kind in base_weights(find_shape(config.model), config)) / 1e9
    assert 0.70 * printed < weights < printed
