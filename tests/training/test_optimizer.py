"""What the optimizer does with which weights, and how its learning rate moves."""

import math
from dataclasses import replace

import pytest
import torch
from support.small_models import small

from anima_exp.config import OptimizerConfig, OptimizerName, Schedule
from anima_exp.errors import ConfigError
from anima_exp.experiment.setup import load
from anima_exp.results import identity
from anima_exp.training.optimizer import make_optimizer, make_schedule


def config(name=OptimizerName.adamw, **settings):
    return OptimizerConfig(name=name, learning_rate=0.01, **settings)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_biases_and_norms_do_not_decay(family):
    model = small(family).requires_grad_()
    optimizer = make_optimizer(model, config(weight_decay=0.1))
    names = {weight: name for name, weight in model.named_parameters()}
    decayed, others = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert all(weight.ndim == 2 for weight in decayed["params"])
    assert all(weight.ndim == 1 for weight in others["params"])
    assert {names[w] for w in decayed["params"] + others["params"]} == {*names.values()}


def test_what_is_frozen_has_no_place_in_the_optimizer():
    model = small()
    model.lm_head.requires_grad_()
    decayed, others = make_optimizer(model, config()).param_groups
    assert decayed["params"] == [model.lm_head.weight] and others["params"] == []


def states(model):
    """By name, the type of each weight's states after one step in 8 bits."""
    optimizer = make_optimizer(model, config(OptimizerName.paged_adamw_8bit))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.ones_like(weight)
    optimizer.step()
    return {
        name: optimizer.state[weight]["state1"].dtype
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def test_embeddings_keep_states_of_32_bits_and_the_next_run_does_not_inherit_that():
    found = states(small().requires_grad_())
    assert found["model.embed_tokens.weight"] is torch.float32
    assert found["model.layers.0.mlp.up_proj.weight"] is torch.uint8
    other = small()
    other.model.layers[0].mlp.up_proj.requires_grad_()  # the first of its group, as embeddings were
    assert states(other) == {"model.layers.0.mlp.up_proj.weight": torch.uint8}


@pytest.mark.parametrize(
    ("name", "paged", "dtype", "expected"),
    [
        ("paged_adamw_32bit", False, torch.float32, "torch"),
        ("paged_adamw_32bit", True, torch.float32, "bitsandbytes"),
        ("paged_adamw_32bit", False, torch.bfloat16, "bitsandbytes"),
        ("paged_adamw_8bit", False, torch.float32, "bitsandbytes"),
        ("adamw", True, torch.float32, "torch"),
    ],
)
def test_a_gpu_with_room_for_all_states_takes_torchs_optimizer(name, paged, dtype, expected):
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():  # no kernel runs, and no GPU is needed
        weight = torch.empty(400, 400, dtype=dtype, device="cuda")
    model = torch.nn.ParameterList([weight])
    optimizer = make_optimizer(model, config(OptimizerName(name)), paged=paged)
    assert type(optimizer).__module__.startswith(expected)


def test_a_cpu_keeps_the_optimizer_of_the_settings():
    model = small().requires_grad_()
    optimizer = make_optimizer(model, config(OptimizerName.paged_adamw_32bit), paged=False)
    assert type(optimizer).__module__.startswith("bitsandbytes")


def rates(steps=10, **settings):
    """The learning rates of a run of ten steps whose largest is 1."""
    weight = torch.nn.Parameter(torch.zeros(1))
    wanted = replace(config(), learning_rate=1.0, **settings)
    optimizer = make_optimizer(torch.nn.ParameterList([weight]), wanted)
    schedule = make_schedule(optimizer, wanted, steps=steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.zeros(1)
        optimizer.step()
        schedule.step()
    return found


def half_cosine(done):
    return (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"schedule": "constant"}, [1.0] * 10),
        ({"schedule": "constant", "warmup_steps": 2}, [0, 0.5] + [1.0] * 8),
        ({"schedule": "constant", "warmup_ratio": 0.2}, [0, 0.5] + [1.0] * 8),
        ({"schedule": "constant_with_warmup", "warmup_ratio": 0.2}, [0, 0.5] + [1.0] * 8),
        ({"schedule": "linear", "warmup_steps": 2}, [0, 0.5] + [1 - n / 8 for n in range(8)]),
        (
            {"schedule": "cosine", "warmup_steps": 2},
            [0, 0.5] + [half_cosine(n / 8) for n in range(8)],
        ),
        (
            {"schedule": "cosine", "min_learning_rate_ratio": 0.1},
            [0.1 + 0.9 * half_cosine(n / 10) for n in range(10)],
        ),
        (
            {"schedule": "warmup_stable_decay", "warmup_ratio": 0.2, "decay_ratio": 0.4},
            [0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25],
        ),
    ],
    ids=str,
)
def test_the_learning_rate_moves_as_its_schedule_says(settings, expected):
    assert rates(**settings | {"schedule": Schedule(settings["schedule"])}) == pytest.approx(
        expected
    )


def test_lora_plus_lets_b_learn_faster_and_only_b():
    model = torch.nn.ModuleDict(
        {name: torch.nn.Linear(2, 2, bias=False) for name in ("lora_A", "lora_B")}
    )
    optimizer = make_optimizer(model, config(lora_plus_ratio=16, weight_decay=0.1))
    by_weight = {w: group for group in optimizer.param_groups for w in group["params"]}
    a, b = by_weight[model["lora_A"].weight], by_weight[model["lora_B"].weight]
    assert (a["lr"], b["lr"]) == (0.01, 0.16)
    assert a["weight_decay"] == b["weight_decay"] == 0.1


NEVER = ["trainer.eval_every=null"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["optimizer.schedule=cosine", "optimizer.warmup_ratio=0.1", "optimizer.warmup_steps=5"],
            "optimizer.warmup_ratio=0.1 and optimizer.warmup_steps=5 contradict",
        ),
        (["optimizer.warmup_steps=999"],
         "optimizer.warmup_steps=999 is more than trainer.max_steps=2"),
        (["optimizer.min_learning_rate_ratio=0.1"], "has no effect with optimizer.schedule=const"),
        (
            ["optimizer.schedule=warmup_stable_decay", "optimizer.decay_ratio=0.8",
             "optimizer.warmup_ratio=0.3"],
            "optimizer.decay_ratio=0.8 and the warm-up take more than all steps",
        ),
        (
            ["optimizer.lora_plus_ratio=16", "lora=full_finetune", "quant=none"],
            "optimizer.lora_plus_ratio=16.0 scales the learning rate of LoRA's B, but lora=full",
        ),
        (["trainer.patience=3", *NEVER], "trainer.patience=3 compares evaluations during training"),
        (["trainer.keep_best=mmlu", *NEVER], "trainer.keep_best=mmlu compares evaluations during"),
        (
            ["trainer.patience=3", "trainer.eval_every=5", "evals=[samples]"],
            "trainer.patience=3 looks at heldout_loss, which evals does not measure",
        ),
    ],
)  # fmt: skip
def test_settings_that_contradict_are_refused(compose, overrides, line):
    with pytest.raises(ConfigError) as error:
        compose(*overrides)
    assert line in str(error.value)


def test_new_settings_at_their_old_values_rename_nothing(compose):
    default = identity.run_name(compose())
    same = (
        "optimizer.warmup_steps=null", "optimizer.min_learning_rate_ratio=0",
        "optimizer.decay_ratio=0.1", "optimizer.lora_plus_ratio=null", "trainer.keep_best=null",
        "trainer.patience=null",
    )  # fmt: skip
    assert identity.run_name(compose(*same)) == default
    others = [
        identity.run_name(compose(*one))
        for one in (
            ["optimizer.warmup_steps=5"],
            ["optimizer.lora_plus_ratio=16"],
            ["trainer.eval_every=5"],
            ["trainer.eval_every=5", "trainer.keep_best=heldout_loss"],
            ["trainer.eval_every=5", "trainer.patience=3"],
        )
    ]
    assert len({default, *others}) == 6


@pytest.mark.parametrize(("steps", "warmup", "decay"), [(10, 0.25, 0.75), (3, 0.5, 0.5)])
def test_warm_up_and_decay_that_fill_the_run_still_reach_the_full_rate(steps, warmup, decay):
    stable = Schedule.warmup_stable_decay
    settings = config(schedule=stable, warmup_ratio=warmup, decay_ratio=decay)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimizer, settings, steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == 1.0


def test_a_warm_up_longer_than_the_run_is_refused_where_epochs_decide_its_steps(compose):
    few = (
        "trainer.max_steps=null",
        "trainer.num_epochs=1",
        "data.max_rows=80",
        "trainer.batch_size=4",
    )
    with pytest.raises(ConfigError, match=r"^optimizer.warmup_steps=30 is more than the 20 steps"):
        load(compose(*few, "optimizer.warmup_steps=30", "evals=[]"))
