"""Two short runs, adapters made on the spot, and the settings of a merge."""

import shutil

import hydra
import pytest

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import MergeConfig
from anima_exp.merging import run as command
from anima_exp.merging.console import MergeView
from anima_exp.system.paths import shipped, tiny_base

FEW = (
    "data.max_rows=1200", "data.heldout_rows=40", "trainer.max_steps=40", "evals=[]",
    "tracking=none",
    "optimizer.learning_rate=4e-3",
)  # fmt: skip


@pytest.fixture(scope="session")
def runs(compose, tmp_path_factory):
    """Two runs that differ in their seed alone."""
    from anima_exp.experiment.run import run

    folders = [tmp_path_factory.mktemp("runs") / f"seed{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        run(compose(*FEW, f"seed={seed}", f"run_dir={folder}"))
    return folders


@pytest.fixture(scope="session")
def settings():
    """settings("run=...", "out=...") -> the MergeConfig of that command line."""

    def _settings(*arguments):
        register_schema(MergeConfig)
        try:
            with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
                overrides = expand_run_argument([*map(str, arguments), "verify_rows=16"])
                return parse(hydra.compose("merge", overrides=overrides))
        finally:
            register_schema()

    return _settings


@pytest.fixture(scope="session")
def merge(settings):
    """merge("run=...", "out=...") does what the command does."""
    return lambda *arguments: command.run(settings(*arguments), listen=MergeView())


@pytest.fixture
def tiny_as(tmp_path):
    """tiny_as("sharded", max_shard_size="300KB", tied=False) -> the tiny base written otherwise."""
    import torch
    from transformers import AutoModelForCausalLM

    def _tiny_as(name, *, tied=True, bin_files=False, dtype=torch.float16, **how):
        folder = tmp_path / name
        model = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=dtype)
        if not tied:
            model.config.tie_word_embeddings = False
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone() * 1.1)
        model.save_pretrained(folder, **how)
        for file in tiny_base().glob("tokenizer*"):
            shutil.copy(file, folder)
        if bin_files:
            (folder / "model.safetensors").unlink()
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        return folder

    return _tiny_as


@pytest.fixture
def adapter_for(tmp_path):
    """adapter_for(base, r=4, ...) -> the folder of a random adapter of PEFT's."""

    def _adapter_for(base, name="adapter", **config):
        import peft
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(3)
        wanted = {"r": 8, "lora_alpha": 2, "target_modules": ["q_proj", "down_proj"]} | config
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        settings = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **wanted)
        peft.get_peft_model(model, settings).save_pretrained(tmp_path / name)
        return tmp_path / name

    return _adapter_for
