"""Settings of an adapter: names, patterns, and what contradicts each other."""

import pytest

from anima_exp.cli.overrides import quote_override
from anima_exp.config import LoraInit, LoraVariant
from anima_exp.config.lora_checks import alphas, ranks
from anima_exp.errors import ConfigError
from anima_exp.model.target_modules import alpha_of, is_named, rank_of
from anima_exp.results.identity import run_name

NAMED = "lora.target_modules=named"


def test_a_run_keeps_its_name_with_the_settings_of_before(compose):
    assert run_name(compose()) == "tiny-sample-61186a1f32"
    assert run_name(compose(NAMED, "lora.modules=[v_proj,q_proj]")) == "tiny-sample-fff2a79d2e"


@pytest.mark.parametrize(
    "given",
    [
        "lora.variant=dora", "lora.init=pissa", "lora.rank_pattern=[q_proj:8]",
        "lora.alpha_pattern=[q_proj:8]", "lora.train_embeddings=true", "lora.save_modules=[norm]",
    ],
)  # fmt: skip
def test_each_setting_enters_the_name(compose, given):
    assert run_name(compose(given)) != run_name(compose())


def test_the_old_name_of_the_modules_is_accepted():
    from anima_exp.cli.overrides import composable

    assert composable(["lora.layers=[q_proj]"]) == ["lora.modules=[q_proj]"]


def test_one_text_is_a_list_of_one(compose):
    quoted = quote_override("lora.modules=.*(q|v)_proj", several=False)
    assert compose(NAMED, quoted).lora.modules == [".*(q|v)_proj"]
    assert quote_override("lora.modules=q_proj,v_proj") == "lora.modules=[q_proj],[v_proj]"
    assert quote_override("lora.modules=null") == "lora.modules=null"


@pytest.mark.parametrize(
    ("name", "layer", "named"),
    [
        ("q_proj", "model.layers.0.self_attn.q_proj", True),
        ("proj", "model.layers.0.self_attn.q_proj", False),
        ("(q|v)_proj", "model.layers.0.self_attn.v_proj", True),
        ("(q|v)_pro", "model.layers.0.self_attn.v_proj", False),
        (".*layers.[01].*", "model.layers.1.mlp.up_proj", True),
        (".*layers.[01].*", "model.layers.2.mlp.up_proj", False),
    ],
)
def test_a_name_or_a_pattern_names_a_layer(name, layer, named):
    assert is_named(layer, name) is named


def test_the_first_pattern_decides_rank_and_alpha(compose):
    lora = compose(
        "lora.rank=4", "lora.rank_pattern=[mlp.down_proj:2,'(q|down)_proj:8']",
        "lora.alpha_pattern=['.*layers.0.*:3.5']",
    ).lora  # fmt: skip
    assert (ranks(lora), alphas(lora)) == (
        {"mlp.down_proj": 2, "(q|down)_proj": 8},
        {".*layers.0.*": 3.5},
    )
    layers = ["layers.0.mlp.down_proj", "layers.1.self_attn.q_proj", "layers.1.self_attn.k_proj"]
    assert [rank_of(layer, lora) for layer in layers] == [2, 8, 4]
    assert [alpha_of(f"model.{layer}", lora) for layer in layers] == [3.5, 16, 16]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["lora.rank_pattern=[q_proj:x]"], r"^lora.rank_pattern: q_proj:x is not NAME:NUMBER"),
        (["lora.rank_pattern=[q_proj:0]"], r"^lora.rank_pattern: q_proj:0 is not NAME:NUMBER"),
        (["lora.alpha_pattern=[q_proj]"], r"^lora.alpha_pattern: q_proj is not NAME:NUMBER"),
        (["lora.rank_pattern=[a:1,a:2]"], r"^lora.rank_pattern names a twice"),
        ([NAMED, 'lora.modules=["(q"]'], r"^lora.modules: \(q is not a regular expression"),
        ([NAMED], r"^lora.target_modules=named names no layer"),
        (["lora.modules=[q_proj]"], r"^lora.modules=\['q_proj'\] has no effect with"),
        (
            ["lora=full_finetune", "quant=none", "lora.train_embeddings=true"],
            r"^lora.train_embeddings=true is for adapters, but lora=full_finetune",
        ),
        (
            ["lora=full_finetune", "quant=none", "lora.variant=rslora"],
            r"^lora.variant=rslora is for adapters, but lora=full_finetune",
        ),
        (["lora.init=loftq", "quant=none"], r"^lora.init=loftq starts at the error of 4-bit"),
        (["lora.init=loftq", "quant=int8"], r"^lora.init=loftq .* but quant.type=int8"),
        (["lora.variant=dora", "lora.init=pissa"], r"^lora.variant=dora and lora.init=pissa"),
        (["lora.variant=dora", "quant=int8"], r"^lora.variant=dora does not work with quant=int8"),
        (["lora.variant=dora", "trainer.fsdp=true"], r"^trainer.fsdp=true shards the base, but"),
        (["lora.init=eva", "trainer.fsdp=true"], r"^trainer.fsdp=true shards the base, but"),
        (["lora.init=eva", "model.adapter=x"], r"^lora.init=eva is for a new adapter, but"),
        (['lora.save_modules=[".*norm"]'], r"^lora.save_modules: \.\*norm is no name"),
    ],
)
def test_what_contradicts_is_one_line(compose, given, said):
    with pytest.raises(ConfigError, match=said) as error:
        compose(*given)
    assert "\n" not in str(error.value)


def test_every_value_is_one_of_the_documented(compose):
    assert [compose(f"lora.variant={one.value}").lora.variant for one in LoraVariant] == [
        *LoraVariant
    ]
    assert [compose(f"lora.init={one.value}").lora.init for one in LoraInit] == [*LoraInit]


def test_eva_and_rslora_contradict_each_other(compose):
    with pytest.raises(ConfigError, match=r"^lora\.init=eva gives each layer a rank of its own"):
        compose("lora.init=eva", "lora.variant=rslora")
