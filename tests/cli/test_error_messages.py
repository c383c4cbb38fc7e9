"""A mistake in a command line: one line that names the setting, the value and the way out."""

import subprocess
import sys

import pytest

from anima_exp.cli.error_messages import unknown_setting
from anima_exp.errors import ConfigError

MISTAKES = {
    "model=lama7b": "model=lama7b: no such choice. "
    "Did you mean 'llama7b'? `anima-exp help model` lists all.",
    "evals=[heldut]": "evals=heldut: no such choice. "
    "Did you mean 'heldout'? `anima-exp help evals` lists all.",
    "experiment=table9/7b": (
        "experiment=table9/7b: no such choice. Did you mean one of table9/7b_all, "
        "table9/7b_hh_rlhf, table9/7b_longform, table9/7b_oasst1?"
    ),
    "modle=tiny": "There is no setting 'modle'. Did you mean 'model'?",
    "+modle=tiny": "There is no setting 'modle'. Did you mean 'model'?",
    "lora.rnak=8": "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?",
    "+lora.rnak=8": "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?",
    "evals.heldout.max_row=1": (
        "There is no setting 'evals.heldout.max_row'. Did you mean 'evals.heldout.max_rows'?"
    ),
    "trainer.learning_rate=1": (
        "There is no setting 'trainer.learning_rate'. Did you mean 'optimizer.learning_rate'?"
    ),
    "lora.rank=eight": "lora.rank=eight is not a whole number.",
    "++lora.rank=x": "lora.rank=x is not a whole number.",
    "quant.type=nf5": "quant.type=nf5 is not one of nf4, fp4, int8, none.",
    "tracking.tags=3": "tracking.tags=3 is not a list: write [a,b].",
    "lora.dropout=${lora.dropuot}": "lora.dropout refers to 'lora.dropuot', which does not exist.",
    "model=local": "model.source has no value. Give it with model.source=...",
    "data=local": ("data=local needs a file. Add data.path=FILE (json, jsonl, csv, tsv, parquet)."),
    "data.path=x": (
        "data.path=x and data.source=sample are both set, but a run has one source. "
        "For a file, use data=local data.path=..."
    ),
    "data.heldout_rows=0": (
        "data.heldout_rows=0 leaves no rows for the evaluations of held-out rows. "
        "Set data.heldout_rows, or use evals=[] or evals=[samples]."
    ),
    "lora=full_finetune": (
        "lora=full_finetune trains every weight, but quant=nf4 freezes them. "
        "Use lora=full_finetune quant=none, or keep an adapter."
    ),
    "+lora.rank=8": "+lora.rank: the setting already exists. Write lora.rank=... without the "
    "plus sign.",
    "lora.rank=-1": "lora.rank=-1 must be greater than 0.",
    "lora.dropout=1": "lora.dropout=1.0 must be at least 0 and less than 1.",
    "trainer.max_tokens_per_micro_batch=0": (
        "trainer.max_tokens_per_micro_batch=0 must be greater than 0."
    ),
    "optimizer.decay_ratio=0.3": (
        "optimizer.decay_ratio=0.3 has no effect with optimizer.schedule=constant. "
        "Use optimizer.schedule=warmup_stable_decay."
    ),
}


@pytest.mark.parametrize(("override", "line"), MISTAKES.items())
def test_a_mistake_is_told_in_one_line(compose, override, line):
    with pytest.raises(ConfigError) as error:
        compose(override)
    assert str(error.value) == line


def test_the_name_that_other_trainers_use_leads_to_ours():
    assert unknown_setting("trainer.micro_batch_size") == (
        "There is no setting 'trainer.micro_batch_size'. "
        "trainer.batch_size is the whole batch of an optimizer step, over all devices. A pass "
        "takes as many of its tokens as fit: see trainer.max_tokens_per_micro_batch."
    )


def test_only_a_base_of_four_bits_has_a_dequantized_copy(compose):
    with pytest.raises(
        ConfigError, match=r"cache_dequantized=true needs 4-bit weights, .*type=int8"
    ):
        compose("quant=int8", "quant.cache_dequantized=true")


def test_max_steps_and_num_epochs_contradict(compose):
    with pytest.raises(
        ConfigError, match=r"trainer\.max_steps=5 and trainer\.num_epochs=2\.0 contradict"
    ):
        compose("trainer.max_steps=5", "trainer.num_epochs=2")


def train(*overrides):
    command = [sys.executable, "-m", "anima_exp.train", *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("lora.rnak=8", "anima_exp: There is no setting 'lora.rnak'."),
        ("+lora.rnak=8", "anima_exp: There is no setting 'lora.rnak'."),
        (
            "trainer.max_steps=null",
            "anima_exp: The run has no length. Set trainer.max_steps=1000 or",
        ),
        ("data.recipe=alpca", "anima_exp: data.recipe=alpca: there is no such recipe."),
        ("data.prompt_template=alpca", "anima_exp: data.prompt_template=alpca: there is no such"),
        ("lora=full_finetune", "anima_exp: lora=full_finetune trains every weight"),
        (
            "~lora.rank",
            "anima_exp: ~lora.rank: a setting cannot be removed. "
            "Give it another value: lora.rank=...",
        ),
        ("lora/mine=x", "anima_exp: There is no setting 'lora/mine'."),
        ("~lora.rnak", "anima_exp: There is no setting 'lora.rnak'. Did you mean 'lora.rank'?"),
        ("~trainer.num_epochs", "anima_exp: ~trainer.num_epochs: a setting cannot be removed."),
        ("lora=8", "anima_exp: A group takes the name of a file"),
        ("lora.rank=[1", "anima_exp: Cannot read the command line at '[1'."),
        (
            "lora.rank=8,16",
            "anima_exp: lora.rank=8,16 gives several values, which needs a sweep. Add -m",
        ),
    ],
)
def test_the_program_prints_that_line_and_nothing_else(override, start):
    ended = train(override)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(start)
    assert ended.stderr.count("\n") == 1


def test_a_setting_of_an_eval_that_is_off_is_a_mistake():
    ended = train("evals=[heldout]", "evals.exact_match.max_rows=1")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "sets a setting of a group that is off" in ended.stderr


def test_a_typo_in_a_yaml_file_names_the_file(tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "mine.yaml").write_text("target_modules: all_linear\nrnak: 8\n")
    ended = train("--config-dir", str(tmp_path), "lora=mine")
    assert ended.returncode == 1
    assert "lora/mine" in ended.stderr
    assert "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_user_can_add_files_of_their_own(tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "mine.yaml").write_text("defaults: [all_linear]\nrank: 3\n")
    ended = train("--config-dir", str(tmp_path), "lora=mine", "--cfg", "job")
    assert ended.returncode == 0, ended.stderr
    assert "rank: 3" in ended.stdout
