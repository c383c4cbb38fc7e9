"""Importing a module of the package has no effect on the process that imports it."""

import json
from pathlib import Path

import pytest
from support.processor.processor import Processor

import anima_exp

# These compute, or load what computes. A module that is not listed imports no torch.
TORCH = (
    "inference.chat", "inference.speakers", "inference.answers", "inference.ask",
    "data.micro_batch", "evals",
    "diagnostics.probe", "experiment.setup", "experiment.model_setup", "experiment.overview",
    "experiment.what_is_trained",
    "merging", "model", "tiny", "training",
)  # fmt: skip

LOOK = """
import gc, importlib, json, os, pkgutil, signal, sys, threading, warnings
import anima_exp

def state():
    return {
        "signals": str([(n.name, signal.getsignal(n)) for n in signal.valid_signals() if
                        isinstance(n, signal.Signals)]),
        "frozen": gc.get_freeze_count(),
        "environment": dict(os.environ),
        "filters": str(warnings.filters),
        "threads": threading.active_count(),
        "resolvers": [name for name in ("unless", "template_of")
                      if "omegaconf" in sys.modules
                      and sys.modules["omegaconf"].OmegaConf.has_resolver(name)],
    }

def names(package):
    return [one.name for one in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]

torch = tuple("anima_exp." + name for name in json.loads(sys.argv[1]))
every = names(anima_exp)
light = [name for name in every if not name.startswith(torch)]
changed = []

def look(name):
    before = state()
    importlib.import_module(name)
    after = state()
    changed.extend(f"{name}: {key}" for key in before if before[key] != after[key])

for name in light:
    look(name)
heavy = [m for m in ("torch", "transformers", "peft", "bitsandbytes") if m in sys.modules]
for library in ("torch", "transformers.modeling_utils", "datasets"):
    importlib.import_module(library)
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
import_bitsandbytes()
import peft, transformers.trainer
for name in every:
    look(name)
import hydra_plugins._anima_exp
print(json.dumps([len(every), len(light), heavy, changed]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """All modules of the package, imported one after the other in a fresh process."""
    processor = Processor(tmp_path_factory.mktemp("imported"), avx512_bf16=True)
    done = processor.run("-c", LOOK, json.dumps(TORCH))
    assert done.returncode == 0, done.stderr
    assert (done.stderr, processor.fetched) == ("", [])
    return json.loads(done.stdout.splitlines()[-1])


def test_an_import_changes_no_signal_handler_environment_or_warning_filter(imported):
    every, _, _, changed = imported
    assert every >= len(list(Path(anima_exp.__file__).parent.rglob("[!_]*.py"))) > 200
    assert changed == []


def test_only_what_computes_imports_torch(imported):
    _, light, heavy, _ = imported
    assert light > 150
    assert heavy == []


def test_the_check_would_notice_a_module_with_an_effect(tmp_path):
    (tmp_path / "effect.py").write_text("import os\nos.environ['EFFECT'] = '1'\n")
    look = LOOK.replace("every = names(anima_exp)", "every = ['effect']").partition("heavy = ")[0]
    done = Processor(tmp_path, avx512_bf16=True).run("-c", f"{look}print(changed)", "[]")
    assert done.stdout.splitlines()[-1] == "['effect: environment']"
