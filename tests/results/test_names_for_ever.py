"""The names of these runs are the same in every version: no upgrade trains a finished run again.

Version 0.1.0 computed them. If a test fails, a change renamed runs that people have finished. Do
not edit a name here: give the new setting the value that means "as before", or keep what the
name is a hash of (results/identity.py).
"""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from anima_exp.config import RunConfig
from anima_exp.config.former_names import FormerNames
from anima_exp.results import identity
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point, expand
from anima_exp.system.paths import shipped

NAMES = [
    ("", "tiny-sample-61186a1f32"),
    ("model=guanaco33b data=belle_merge", "guanaco33b-belle_merge-4cf106ea96"),
    ("experiment=anima33b", "guanaco33b-belle_merge-d0b6c4ef4a"),
    ("experiment=guanaco_7b seed=3", "llama7b-oasst1-5c34b96b71"),
    ("experiment=table9/65b_hh_rlhf", "llama65b-hh_rlhf-89f1b57805"),
    ("experiment=historical/anima33b", "guanaco33b-belle_merge-ec5d74b4d5"),
    (
        "model=qwen3_8b data=alpaca_clean data.max_train_samples=20000",
        "qwen3_8b-alpaca_clean-39b7ac38e4",
    ),
    (
        "model=smollm2_135m model.revision=main trainer.epochs=3 trainer.steps=null",
        "smollm2_135m-sample-6de22cf3ac",
    ),
    (
        "model=llama7b data=oasst1 lora=none quant=none optimizer.learning_rate=1e-5",
        "llama7b-oasst1-62d05594f7",
    ),
    (
        "model=llama7b quant=int8 optimizer=adamw trainer.precision=fp32",
        "llama7b-sample-cf685afd64",
    ),
    (
        "model=mistral_7b data=hh_rlhf quant=fp4 quant.double_quant=false lora=attention",
        "mistral_7b-hh_rlhf-ba05ef22fc",
    ),
    (
        "lora=key_query lora.rank=1 trainer.steps=4 trainer.batch_size=4 data.rows=64",
        "tiny-sample-6beb315964",
    ),
    ("evals=[]", "tiny-sample-0cce9ed30e"),
    ("evals=[heldout,samples,exact_match]", "tiny-sample-61186a1f32"),
    ("evals=[mmlu,cmmlu] evals.mmlu.shots=0", "tiny-sample-28679b0cfd"),
    ("evals=[heldout,ceval,answers] evals.answers.max_questions=5", "tiny-sample-8c0206c65d"),
    ("scale=0.1", "tiny-sample-b71baa43a5"),
    (
        "data.train_on_source=true data.heldout_rows=100 data.heldout_seed=7",
        "tiny-sample-5e39a6e429",
    ),
    (
        "runs=elsewhere cache=here tracking=none trainer.save_every=5 trainer.token_budget=512",
        "tiny-sample-61186a1f32",
    ),
    # A trial of an Optuna search.
    (
        "optimizer.learning_rate=0.0004371837481253917 lora.rank=8 lora.dropout=0.05",
        "tiny-sample-290a109960",
    ),
    # Files and folders of the user's own count by their content.
    ("data=local data.path=rows.jsonl data.recipe=alpaca", "tiny-local-fce87bfe81"),
    (
        "data=local data.path=rows.jsonl data.recipe=alpaca data.heldout_path=held.csv",
        "tiny-local-38586993a0",
    ),
    ("data=local data.path=rows.jsonl data.recipe=recipe_of_names.mine", "tiny-local-5085ce56ca"),
    ("model=local model.source=base", "local-sample-b3e6e60e5f"),
    (
        "model=local model.source=base model.tokenizer=base data=local data.path=rows.jsonl",
        "local-local-b046e8eb65",
    ),
    ("evals=[mmlu] evals.mmlu.path=tables evals.mmlu.split=test", "tiny-sample-1fb73cd4c9"),
    ("evals=[answers] evals.answers.questions=questions.jsonl", "tiny-sample-457add0399"),
]

# The cell in the middle of each file in sweeps/.
CELLS = {
    "appendix_b4": "llama7b-unnatural_instructions-fc5da1bb20",
    "datatypes": "llama33b-alpaca-7969369835",
    "demo": "tiny-sample-8998ea863b",
    "full_vs_lora": "llama7b-alpaca-fe93cb8edf",
    "lora_methods": "llama3_2_3b-metamathqa-d9a7c82880",
    "lora_methods_tiny": "tiny-sample-0961b48010",
    "lora_rank": "llama7b-alpaca-57c4970680",
    "lora_search": "llama7b-alpaca-b265488646",
    "seeds": "llama7b-oasst1-6bb014fab9",
    "table9": "llama33b-alpaca-97b31d2946",
    "table9_around": "llama33b-alpaca-2ccffd7e76",
    "train_on_source": "llama7b-alpaca-ab27eac6af",
    "what_is_learnt": "tiny-sample_chat-115050d01b",
}

FILES = {
    "rows.jsonl": '{"instruction": "1 + 1", "output": "2"}\n'
    '{"instruction": "2 + 2", "output": "4"}\n',
    "held.csv": "instruction,output\n3 + 3,6\n",
    "questions.jsonl": '{"question_id": 1, "text": "Who are you?"}\n',
    "recipe_of_names.py": "def mine(row):\n    return row\n",
    "base/config.json": '{"model_type": "llama"}\n',
    "base/model.safetensors": "weights of one model",
    "base/tokenizer.json": "{}",
    "base/README.md": "no part of the model",
    "tables/test/algebra_test.csv": "1 + 1?,1,2,3,4,B\n",
}


@pytest.fixture(scope="module")
def hydras():
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("train", [], RunMode.MULTIRUN)
        return OverridesParser.create(config_loader=loader), Composer(loader, master)


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    """A working directory with FILES, which the names are relative to."""
    folder = tmp_path_factory.mktemp("names")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield


@pytest.mark.parametrize(("overrides", "name"), NAMES)
def test_a_run_keeps_its_name(hydras, overrides, name):
    todays = FormerNames(RunConfig).overrides(overrides.split())
    _, config = hydras[1].compose(Point(tuple(todays)))
    assert identity.run_name(config) == name


@pytest.mark.parametrize("sweep", CELLS)
def test_a_cell_keeps_its_name(hydras, sweep):
    parser, composer = hydras
    settings = OmegaConf.load(shipped("sweeps") / f"{sweep}.yaml").hydra.sweeper
    asked = {k: v for k, v in OmegaConf.to_container(settings).items() if k in KINDS}
    points = expand(parser, (), **asked)
    _, config = composer.compose(points[len(points) // 2])
    assert identity.run_name(config) == CELLS[sweep]


KINDS = ("params", "points", "multipliers")


def test_every_sweep_is_pinned():
    assert sorted(CELLS) == sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))
