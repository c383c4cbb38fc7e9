"""An adapter of plain PEFT computes here what it does there; one of another base is refused."""

import json

import peft
import pytest
import torch
from support.small_models import VOCABULARY, small

from anima_exp.errors import ModelError
from anima_exp.model.adapter import load_adapter

pytestmark = pytest.mark.usefixtures("shown")

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}


def save(folder, base=None, *, pickled=False, **settings):
    """A plain PEFT adapter with random weights in `folder`, and its logits."""
    how = peft.LoraConfig(**{**LORA, "task_type": "CAUSAL_LM", **settings})
    model = peft.get_peft_model(base or small(), how).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.copy_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder, safe_serialization=not pickled)
    if pickled and (folder / "adapter_model.safetensors").exists():  # some PEFTs only write these
        from safetensors.torch import load_file

        file = folder / "adapter_model.safetensors"
        torch.save(load_file(file), folder / "adapter_model.bin")
        file.unlink()
    return logits(model)


@torch.no_grad()
def logits(model):
    ids = torch.arange(3, 23)[None] % VOCABULARY
    return model(input_ids=ids).logits


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task_type": None},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}},
        {"modules_to_save": ["lm_head"]},
        {"use_dora": True},
        {"use_rslora": True},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"bias": "lora_only"},
    ],
    ids=lambda settings: next(iter(settings), "plain") if isinstance(settings, dict) else None,
)
def test_an_adapter_of_plain_peft_computes_the_same(settings, pickled, tmp_path):
    wanted = save(tmp_path, pickled=pickled, **settings)
    assert (tmp_path / "adapter_model.bin").exists() is pickled
    found = load_adapter(small(), str(tmp_path))
    assert torch.equal(logits(found), wanted)
    assert not torch.equal(wanted, logits(small()))
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())


def test_adapters_on_one_base_compute_what_each_does_alone(tmp_path):
    wanted = [
        save(tmp_path / "a"),
        save(tmp_path / "b", r=2, target_modules=["k_proj"], use_dora=True),
    ]
    model = load_adapter(small(), str(tmp_path / "a"))
    model = load_adapter(model, str(tmp_path / "b"), name="beside1", key="extra_adapters")
    for _ in range(2):
        for name, theirs in zip(("default", "beside1"), wanted, strict=True):
            model.set_adapter(name, inference_mode=True)
            assert torch.equal(logits(model), theirs)
        with model.disable_adapter():
            assert torch.equal(logits(model), logits(small()))


def test_an_adapter_of_a_wider_base_is_refused(tmp_path):
    save(tmp_path, small(hidden_size=128))
    with pytest.raises(
        ModelError, match=r"a base model other than .*: its weights have other shapes\."
    ):
        load_adapter(small(), str(tmp_path))


def test_an_adapter_of_another_family_is_refused(tmp_path):
    save(tmp_path, small("gpt2"), target_modules=["c_attn"], fan_in_fan_out=True)
    with pytest.raises(ModelError, match=r"has none of its layers\. Choose its base model"):
        load_adapter(small(), str(tmp_path))


def test_an_adapter_of_a_deeper_base_is_refused(tmp_path):
    save(tmp_path, small(num_hidden_layers=3))
    with pytest.raises(ModelError, match=r"6 of its 18 weights have no layer there. The first is "
                                         r"model\.layers\.2\.\w+\.\w+_proj\."):  # fmt: skip
        load_adapter(small(), str(tmp_path))


def test_an_adapter_of_a_shallower_base_is_refused(tmp_path):
    save(tmp_path, small(num_hidden_layers=1))
    with pytest.raises(ModelError, match=r"lacks 6 of the weights .* model\.layers\.1\."):
        load_adapter(small(), str(tmp_path))


def test_the_name_of_another_base_is_a_warning(tmp_path, capsys):
    save(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "o/b"}))
    load_adapter(small(), str(tmp_path))
    told = capsys.readouterr().err
    assert told.startswith(f"anima_exp: adapter={tmp_path} was trained on o/b but is loaded onto ")
    assert told.count("\n") == 1


def test_what_is_no_part_of_a_layer_is_refused(tmp_path):
    how = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(small(), how).save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match="is of type PROMPT_TUNING, which computes outside the layers"
    ):
        load_adapter(small(), str(tmp_path))


def test_a_type_of_a_later_peft_is_named(tmp_path):
    save(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"peft_type": "NEWER"}))
    with pytest.raises(ModelError, match="is of type NEWER, which the installed peft does not"):
        load_adapter(small(), str(tmp_path))


def rewrite(folder, how):
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file(how(load_file(file)), file)


@pytest.mark.parametrize(
    "left",
    [
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda name: f"module.{name}",
    ],
    ids=["default", "compiled", "distributed"],
)
def test_names_that_other_trainers_leave_are_peft_s_own(tmp_path, left):
    wanted = save(tmp_path)
    rewrite(tmp_path, lambda weights: {left(name): one for name, one in weights.items()})
    assert torch.equal(logits(load_adapter(small(), str(tmp_path))), wanted)


def test_added_tokens_are_said_as_such(tmp_path):
    save(tmp_path)
    tokens = {"base_model.model.model.embed_tokens.weight": torch.zeros(VOCABULARY + 2, 64)}
    rewrite(tmp_path, lambda weights: weights | tokens)
    with pytest.raises(ModelError) as error:
        load_adapter(small(), str(tmp_path))
    assert str(error.value).startswith(
        f"adapter={tmp_path} holds embeddings for 99 tokens, but its base model  has 97: its "
        "trainer added tokens, which is not supported here."
    )


def test_a_pattern_that_never_ends_is_refused(tmp_path, monkeypatch):
    from anima_exp.model import adapter_patterns

    monkeypatch.setattr(adapter_patterns, "_SECONDS", 2.0)
    save(tmp_path)
    file = tmp_path / "adapter_config.json"
    known = json.loads(file.read_text())
    for pattern, reason in {
        r"(([a-z._0-9])+)+!": "takes more than 2 s to match",
        "(": "is invalid: missing ), unterminated subpattern at position 0",
    }.items():
        file.write_text(json.dumps(known | {"target_modules": pattern}))
        with pytest.raises(ModelError) as error:
            load_adapter(small(), str(tmp_path))
        assert str(error.value) == (
            f"adapter={tmp_path}: the pattern {pattern!r} in its adapter_config.json {reason}. "
            "Replace it with a list of module names."
        )


def test_a_pattern_of_plain_peft_still_works(tmp_path):
    wanted = save(tmp_path, target_modules=r".*\.(q_proj|down_proj)")
    assert torch.equal(logits(load_adapter(small(), str(tmp_path))), wanted)
