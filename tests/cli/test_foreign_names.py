"""Names that other programs give their settings: each answer names what we really have."""

import re
from dataclasses import is_dataclass

import pytest

from anima_exp.cli import foreign_names
from anima_exp.cli.error_messages import choices, unknown_setting
from anima_exp.config import (
    DataConfig,
    EvaluateConfig,
    GenerateConfig,
    MergeConfig,
    RunConfig,
    program_settings,
)
from anima_exp.config.commands import JudgeConfig
from anima_exp.config.program_settings import settings

SCHEMAS = (RunConfig, EvaluateConfig, GenerateConfig, MergeConfig)
TABLES = (foreign_names._TRAINING_NAMES, foreign_names._ANSWERS_NAMES, foreign_names._OUT_NAMES)
ANSWERS = sorted({answer for table in TABLES for answer in table.values()})


@pytest.fixture
def of_schema(monkeypatch):
    return lambda schema: monkeypatch.setattr(program_settings, "_schema", [schema])


def known_settings():
    return {key for schema in SCHEMAS for key in settings(schema)}


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_setting_that_an_answer_names_exists(answer):
    known = known_settings()
    dotted = re.findall(r"\b(?<!_)([a-z_]+(?:\.[a-z_0-9]+)+)\b", answer)
    named = [name for name in dotted if not name.startswith(("torch.", "anima_exp."))]
    assert [name for name in named if name not in known] == []
    for key, value in re.findall(r"([a-z_.0-9]+)=([\w\[\],.]+)", answer):
        assert key in known, key
        if is_dataclass(settings(RunConfig).get(key)):
            chosen = value.strip("[].,").split(",")
            assert set(chosen) <= {*choices(key), "NAME"}, (key, chosen)


def test_choices_that_an_answer_lists_exist():
    listed = foreign_names._TRAINING_NAMES["lora_target"].partition("lora=")[2].rstrip(".")
    assert set(re.split(r", | or ", listed)) == set(choices("lora")) - {"full_finetune"}
    optimizers = foreign_names._TRAINING_NAMES["optim"].partition("optimizer=")[2].rstrip(".")
    assert set(re.split(r", | or ", optimizers)) == set(choices("optimizer"))


def test_no_answer_is_given_to_a_name_of_ours():
    """At the top, where a name of ours would never be unknown."""
    top = {key for key in settings(RunConfig) if "." not in key} - {"seed"}
    assert top & set(foreign_names._TRAINING_NAMES) == set()


@pytest.mark.parametrize("prefix", ["", "trainer.", "training.", "optimizer.", "model."])
def test_a_name_is_answered_with_any_group_before_it(prefix):
    line = f"There is no setting '{prefix}lr'. The learning rate is optimizer.learning_rate."
    assert unknown_setting(f"{prefix}lr") == line


NAMES = """lr learning_rate use_dora early_stopping load_best load_best_model_at_end
gradient_accumulation_steps per_device_train_batch_size micro_batch_size max_seq_length max_length
cutoff_len packing sample_packing epochs num_train_epochs max_steps bf16 fp16 output_dir lora_r
lora_alpha lora_dropout target_modules load_in_4bit load_in_8bit warmup_ratio warmup_steps
weight_decay lr_scheduler_type scheduler optim save_steps save_total_limit eval_steps logging_steps
max_grad_norm gradient_checkpointing flash_attention attn_implementation dataset datasets
model_name_or_path base_model report_to wandb_project resume_from_checkpoint deepspeed fsdp
group_by_length"""


@pytest.mark.parametrize("name", NAMES.split())
@pytest.mark.parametrize("prefix", ["", "training."])
def test_common_names_of_other_programs_have_an_answer(name, prefix):
    line = unknown_setting(prefix + name)
    assert "Known:" not in line
    answered = foreign_names.answer(name, settings()) or f"optimizer.{name} trainer.{name}"
    assert any(word.strip(".'?") in settings() for word in re.split(r"[ =,]", line)) or (
        "There is none" in answered
    )


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("chat_template", "data.template"), ("data.chat_template", "data.template"),
        ("cutoff_len", "data.max_tokens"), ("max_seq_length", "data.max_tokens"),
        ("train_on_inputs", "data.train_on=all"), ("mask_history", "data.train_on=assistant"),
        ("assistant_only_loss", "data.train_on=assistant"), ("roles", "data.recipe=messages"),
        ("roles_to_train", "data.train_on=assistant"), ("default_system", "data.recipe=messages"),
        ("enable_thinking", "data.thinking=template"), ("truncation_mode", "data.too_long=cut_end"),
        ("split_special_tokens", "data.special_tokens_in_text=text"),
    ],
)  # fmt: skip
def test_names_for_conversations_lead_to_the_settings_of_conversations(name, setting):
    assert setting in unknown_setting(name)


@pytest.mark.parametrize("name", ["train_on", "thinking", "too_long", "special_tokens_in_text"])
def test_the_values_that_an_answer_lists_exist(name):
    [listed] = {
        answer.partition(f"data.{name}=")[2].rstrip(".")
        for answer in ANSWERS
        if f"data.{name}=" in answer and " or " in answer
    }
    known = {one.value for one in type(getattr(DataConfig, name))}
    assert set(re.split(r", | or ", listed)) == known


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("lora.rnak", "Did you mean 'lora.rank'?"),
        ("trainer.learning_rate", "Did you mean 'optimizer.learning_rate'?"),
        ("learning_rate", "Did you mean 'optimizer.learning_rate'?"),
        ("modl.source", "Did you mean 'model.source'?"),
        ("temperature", "Did you mean 'evals.answers.temperature'?"),
    ],
)
def test_what_is_close_is_suggested(key, hint):
    assert unknown_setting(key).endswith(hint)


@pytest.mark.parametrize("key", ["lora.banana", "trainer.foo", "xyz", "lora.x"])
def test_what_is_not_close_is_not_suggested(key):
    assert "Did you mean" not in unknown_setting(key)


def test_a_command_that_trains_nothing_is_not_told_of_training(of_schema):
    of_schema(JudgeConfig)
    assert "optimizer" not in unknown_setting("lr")


def test_a_command_that_writes_to_out_says_so(of_schema):
    of_schema(MergeConfig)
    assert unknown_setting("output_dir").endswith("It is out=PLACE.")
    of_schema(GenerateConfig)
    assert unknown_setting("max_length").endswith("It is max_new_tokens.")
