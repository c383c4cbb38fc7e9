"""model.adapter: an adapter is trained further, as it is."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from anima_exp.cli import adapter_settings
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import LoraVariant
from anima_exp.errors import ConfigError, ModelError
from anima_exp.experiment.run import run
from anima_exp.results import identity
from anima_exp.results.record import Record

FEW = (
    "data.max_rows=32", "data.heldout_rows=8", "trainer.max_steps=3", "trainer.batch_size=4",
    "evals=heldout", "tracking=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def first(compose, tmp_path_factory):
    """A finished run with an adapter of rank 2 on the attention layers."""
    folder = tmp_path_factory.mktemp("first") / "run"
    run(compose(f"run_dir={folder}", *FEW, "lora=attention", "lora.rank=2", "lora.alpha=3"))
    return folder


@pytest.fixture
def continued(compose, first):
    def _continued(*overrides, adapter=None):
        place = f"model.adapter={adapter or first / 'adapter'}"
        return compose(*adapter_settings.with_adapter([*FEW, place, *overrides]))

    return _continued


def test_training_goes_on_from_the_weights_of_the_adapter(continued, first, tmp_path):
    config = continued(f"run_dir={tmp_path / 'second'}")
    run(config)
    record = Record.load(tmp_path / "second")
    assert record.scores_before == Record.load(first).scores
    assert record.scores["heldout_loss"] < record.scores_before["heldout_loss"]
    settings = json.loads((tmp_path / "second/adapter/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (2, 3.0)
    assert sorted(settings["target_modules"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]
    before = load_file(first / "adapter/adapter_model.safetensors")
    after = load_file(tmp_path / "second/adapter/adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    assert "trained further" in (tmp_path / "second/adapter/README.md").read_text()


def test_rank_alpha_and_layers_are_the_adapters(continued):
    lora = continued().lora
    assert (lora.rank, lora.alpha) == (2, 3.0)
    assert lora.modules == ["k_proj", "o_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lora.rank=8", r"^lora.rank=8 contradicts model.adapter=.*, which has lora.rank=2\."),
        ("lora.alpha=16", r"^lora.alpha=16 contradicts model.adapter=.*which has lora.alpha=3\."),
        (
            "lora=ffn",
            r"^lora=ffn contradicts model.adapter=.*are fixed: k_proj, o_proj, q_proj, v_proj",
        ),
        ("lora.rank_pattern=[q_proj:4]", r"^lora.rank_pattern=\[q_proj:4\] contradicts"),
        ("lora.alpha_pattern=[q_proj:4]", r"^lora.alpha_pattern=\[q_proj:4\] contradicts"),
        ("lora.save_modules=[norm]", r"^lora.save_modules=\[norm\] contradicts model.adapter="),
    ],
)
def test_what_contradicts_the_adapter_is_refused(continued, given, message):
    with pytest.raises(ConfigError, match=message):
        continued(given)


def test_what_contradicts_the_adapter_in_a_file_is_refused_before_training(compose, first):
    place = f"model.adapter={first / 'adapter'}"
    for given, said in (
        ((), "lora.rank=64 contradicts"),
        (("lora.rank=2",), "lora.alpha=16 contradicts"),
        (("lora.rank=2", "lora.alpha=3"), "lora.target_modules=all_linear contradicts"),
    ):
        config = compose(place, *given)
        with pytest.raises(ConfigError, match=f"^{said}"):
            adapter_settings.check(config.model, config.lora)
    with pytest.raises(
        ConfigError, match=r"^lora=full_finetune trains every weight, but model.adapter="
    ):
        compose(place, "lora=full_finetune", "quant=none")


@pytest.mark.parametrize(
    "given", ["variant=dora", "rank_pattern=[q_proj:4]", "save_modules=[norm]",
              "train_embeddings=true"]
)  # fmt: skip
def test_what_an_adapter_does_not_have_is_not_recorded_as_if_it_had(compose, first, given):
    own = ("lora.target_modules=named", "lora.modules=[k_proj,o_proj,q_proj,v_proj]",
           "lora.rank=2", "lora.alpha=3")  # fmt: skip
    config = compose(f"model.adapter={first / 'adapter'}", *own, f"lora.{given}")
    with pytest.raises(ConfigError, match=f"^lora.{given.partition('=')[0]}="):
        adapter_settings.check(config.model, config.lora)


def test_the_name_counts_the_adapter_by_its_content(continued, first, tmp_path):
    here = identity.run_name(continued())
    copy = tmp_path / "copy"
    shutil.copytree(first / "adapter", copy)
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": "/elsewhere"})
    )
    given = ("model=tiny",)
    assert identity.run_name(continued(*given, adapter=copy)) == here
    weights = load_file(copy / "adapter_model.safetensors")
    weights[min(weights)].view(-1)[0] += 1e-7
    save_file(weights, copy / "adapter_model.safetensors")
    assert identity.run_name(continued(*given, adapter=copy)) != here


def changed(first, folder, **settings):
    shutil.copytree(first / "adapter", folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_bias": True}, "has lora_bias, which training does not support"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4, which also"),
        ({"use_dora": True, "use_rslora": True}, "has use_dora and use_rslora, but training"),
        ({"bias": "all"}, "has bias=all, but training does not support biases"),
        ({"peft_type": "IA3"}, "is of type IA3, but only LoRA adapters can be trained"),
    ],
)
def test_another_kind_of_adapter_is_refused_in_one_line(first, tmp_path, settings, message):
    place = changed(first, tmp_path / "other", **settings)
    with pytest.raises(ModelError, match=message):
        adapter_settings.read(place)


def test_the_variant_and_the_patterns_are_the_adapters(first, tmp_path, compose):
    place = changed(
        first, tmp_path / "other", use_rslora=True, rank_pattern={"q_proj": 4},
        alpha_pattern={"model.layers.0.*": 8.5}, modules_to_save=["model.norm"],
    )  # fmt: skip
    lora = compose(*adapter_settings.with_adapter([f"model.adapter={place}"])).lora
    assert (lora.variant, lora.rank_pattern) == (LoraVariant.rslora, ["q_proj:4"])
    assert (lora.alpha_pattern, lora.save_modules) == (["model.layers.0.*:8.5"], ["model.norm"])
    with pytest.raises(ConfigError, match=r"^lora.variant=dora contradicts .* lora.variant=rslora"):
        adapter_settings.with_adapter([f"model.adapter={place}", "lora.variant=dora"])


def test_layers_given_by_a_pattern_are_read_from_the_weights(first, tmp_path):
    place = changed(first, tmp_path / "pattern", target_modules=r".*_proj")
    assert adapter_settings.read(place).layers == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_a_fresh_adapter_may_name_its_layers(compose, tmp_path):
    named = ("lora.target_modules=named", "lora.rank=2", f"run_dir={tmp_path / 'named'}", *FEW)
    run(compose(*named, "lora.modules=[q_proj,mlp.down_proj]"))
    names = load_file(tmp_path / "named/adapter/adapter_model.safetensors")
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == {"q_proj", "down_proj"}
    with pytest.raises(
        ModelError,
        match=r"^lora.modules: q_prj matches no layer. The linear layers are down_proj,",
    ):
        run(compose(*named[:2], f"run_dir={tmp_path / 'wrong'}", *FEW, "lora.modules=[q_prj]"))
    with pytest.raises(ConfigError, match=r"^lora.target_modules=named names no layer"):
        compose("lora.target_modules=named")
    with pytest.raises(ConfigError, match=r"^lora.modules=\['q_proj'\] has no effect with"):
        compose("lora.modules=[q_proj]")


def test_an_adapter_to_train_further_is_not_one_to_use():
    with pytest.raises(ConfigError) as error:
        expand_run_argument(["model.adapter=some/adapter"])
    assert str(error.value) == (
        "model.adapter=some/adapter is for training an adapter further. To use the adapter, set "
        "adapter=some/adapter."
    )
