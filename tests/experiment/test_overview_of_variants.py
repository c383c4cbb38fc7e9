"""The overview and the model card name what differs from plain LoRA."""

import pytest

from anima_exp.experiment.overview import _describe_trainable, _variant
from anima_exp.model.linear_layers import Parameters
from anima_exp.model_card import facts
from anima_exp.results.identity import flatten

COUNTED = Parameters(trainable=10, total=1000, stored=1000, bytes_by_dtype={})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "LoRA on all_linear, rank 64"),
        (["lora.variant=rslora"], "rsLoRA on all_linear, rank 64"),
        (["lora.variant=dora"], "DoRA on all_linear, rank 64"),
        (["lora.rank_pattern=[q_proj:8]"], "alpha 16, rank 8 on q_proj, dropout"),
        (
            ["lora.train_embeddings=true", "lora.save_modules=[norm]"],
            "in fp32, with embeddings and head, norm as a whole in fp32: 10 parameters",
        ),
    ],
)
def test_the_line_of_what_is_trained_names_it(compose, given, said):
    assert said in _describe_trainable(compose(*given), COUNTED)


def test_plain_lora_has_no_line_of_its_own(compose):
    assert _variant(compose()) == {}


def test_peft_s_own_forward_pass_is_said(compose):
    line = _variant(compose("lora.variant=dora"))["variant"]
    assert line.startswith("DoRA on PEFT's own forward pass, about 1.5 times slower")
    assert "depends on trainer.max_tokens_per_micro_batch" in line
    assert "dropout" not in _variant(compose("lora.variant=dora", "lora.dropout=0"))["variant"]


@pytest.mark.parametrize("init", ["pissa", "olora", "loftq", "eva"])
def test_another_start_is_said(compose, init):
    line = _variant(compose(f"lora.init={init}"))["starts"]
    assert {"pissa": "PiSSA", "olora": "OLoRA", "loftq": "LoftQ", "eva": "EVA"}[init] in line
    assert ("twice the rank" in line) is (init in ("pissa", "olora"))


class Recorded:
    """What the facts of training read of a record."""

    def __init__(self, settings):
        self.settings = settings
        self.parameters = {"trainable": 10, "total": 1000}
        self.is_full_finetune = False
        self.rows = {"train": 8}
        self.steps, self.ended, self.best = 2, "", {}


def test_the_card_names_variant_start_patterns_and_whole_modules(compose):
    config = compose(
        "lora.variant=rslora", "lora.init=pissa", "lora.alpha_pattern=[q_proj:8]",
        "lora.train_embeddings=true",
    )  # fmt: skip
    table = dict(facts.training(Recorded(flatten(config)), ["q_proj"]))
    assert table["method"] == "rsLoRA"
    assert table["started from"].startswith("PiSSA")
    assert table["rank, alpha of some"] == "alpha 8 on q_proj"
    assert table["trained as a whole"] == "embeddings and head, in fp32"
    older = {key: value for key, value in flatten(compose()).items() if "lora.init" not in key}
    assert "started from" not in dict(facts.training(Recorded(older), ["q_proj"]))
