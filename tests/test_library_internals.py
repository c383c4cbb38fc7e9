"""What libraries do not promise is used in src/anima_exp/libraries/ alone, one file a library."""

import ast
from functools import cache
from pathlib import Path

import pytest

import anima_exp

PACKAGE = Path(anima_exp.__file__).parent
ADAPTERS = "libraries"
OURS = ("anima_exp", "hydra_plugins")
DOCUMENTED = {"os._exit"}
# Without an underscore, and undocumented all the same. An adapter file says what each is for.
UNDOCUMENTED = {
    "CB", "SCB", "state2", "init_8bit_state", "quant_state", "support_avx512bf16_for_cpu",
    "Params4bit", "Int8Params", "Linear4bit", "Linear8bitLt", "absmax", "dequantize_4bit",
    "AutoHfQuantizer", "hf_quantizer", "pre_quantized", "preprocess_model", "DynamicLayer",
    "MODEL_FOR_CAUSAL_LM_MAPPING", "AttentionInterface", "batch_select_indices", "Conv1D",
    "activation_checkpointing_enable", "gradient_checkpointing_enable", "conversion_mapping",
    "LoraLayer", "ParamWrapper", "active_adapters", "lora_variant",
    "disable_adapters", "merged_adapters", "varlen_attn",
    "OverridesParser", "load_sweep_config", "SourcesRegistry", "system_attrs", "fixed_params",
    "JournalFileSymlinkLock", "submitit",
}  # fmt: skip
# Hydra's and OmegaConf's own words.
HYDRAS_WORDS = (
    "Could not find '", "Could not load '", "Could not override", "Could not append", "not in '",
    "Unknown plugin class", "Ambiguous value", "Merge error", "no viable alternative",
    "is not in struct", "Error merging override", "Interpolation key", "full_key",
)  # fmt: skip


@cache
def modules():
    """Every module of the package but the adapters, with its path in the package."""
    paths = [(path.relative_to(PACKAGE).as_posix(), path) for path in PACKAGE.rglob("*.py")]
    return [
        (name, ast.parse(path.read_text(encoding="utf-8")))
        for name, path in sorted(paths)
        if not name.startswith(f"{ADAPTERS}/")
    ]


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def own_names(tree):
    """The private names that a module gives to something itself: `def _x`, `self._x = ...`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")
        ):
            yield node.attr


def constants(tree):
    """NAME = "text" at the top of a module, which may stand for the name of an attribute."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def foreign(module):
    return module.split(".")[0] not in OURS


def private_uses(tree):
    """(line, what) of everything private that belongs to a library, or to Python itself."""
    own, known = set(own_names(tree)), constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            whole = ast.unparse(node)
            of_self = ast.unparse(node.value) in ("self", "cls") or node.attr in own
            if not of_self and whole not in DOCUMENTED:
                yield node.lineno, whole
        elif isinstance(node, ast.ImportFrom) and node.module and foreign(node.module):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if any(map(is_private, parts)):
                yield node.lineno, f"from {node.module} import ..."
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if foreign(alias.name) and any(map(is_private, alias.name.split("."))):
                    yield node.lineno, f"import {alias.name}"
        elif isinstance(node, ast.Call):
            yield from private_names_in(node, known)


def private_names_in(call, known):
    """Names in text: getattr(model, "_x"), import_module("library._x"), logging.getLogger(...)."""
    function = ast.unparse(call.func).rpartition(".")[2]
    if function in ("getattr", "setattr", "hasattr", "delattr"):
        texts = call.args[1:2]
    elif function in ("import_module", "getLogger", "find_spec"):
        texts = call.args[:1]
    else:
        return
    for text in texts:
        first = text.values[0] if isinstance(text, ast.JoinedStr) else text
        name = known.get(first.id, "") if isinstance(first, ast.Name) else ""
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value
        if any(map(is_private, name.split("."))):
            yield call.lineno, f"{function}(... {name!r})"


def undocumented_uses(tree):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module and foreign(node.module):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = node.value.split(".") if node.value.isprintable() else []
        for name in UNDOCUMENTED.intersection(names):
            yield node.lineno, name


def hydras_words(tree):
    """Text that is matched with Hydra's errors; docstrings and our own messages are not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for words in HYDRAS_WORDS:
                if words in node.value:
                    yield node.lineno, words


def found(uses):
    return [f"{name}:{line}: {what}" for name, tree in modules() for line, what in uses(tree)]


def test_nothing_private_of_a_library_is_used_outside_its_adapter():
    assert len(modules()) > 200
    assert found(private_uses) == []


def test_nothing_undocumented_of_a_library_is_used_outside_its_adapter():
    assert found(undocumented_uses) == []


def test_hydras_error_texts_are_matched_in_one_file():
    assert found(hydras_words) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("model._tied", "model._tied"),
        ("super()._save(1)", "super()._save"),
        ("from hydra._internal import utils", "from hydra._internal import ..."),
        ("from liger import _apply", "from liger import ..."),
        ("import torch._dynamo", "import torch._dynamo"),
        ("getattr(model, '_supports')", "getattr(... '_supports')"),
        ("NAME = '_supports'\nhasattr(model, NAME)", "hasattr(... '_supports')"),
        ("getattr(model, f'_supports_{name}')", "getattr(... '_supports_')"),
        ("import_module('ray._core')", "import_module(... 'ray._core')"),
    ],
)
def test_the_check_would_notice_a_private_name(line, what):
    assert [use for _, use in private_uses(ast.parse(line))] == [what]


@pytest.mark.parametrize(
    "line",
    [
        "self._tied",
        "class A:\n    def _made(self): self._x = 1\n    def f(cls, a): a._x, a._made()",
        "from anima_exp.model import _x",
        "model.__class__",
        "os._exit(1)",
        "getattr(model, 'tied')",
    ],
)
def test_the_check_lets_our_own_names_pass(line):
    assert list(private_uses(ast.parse(line))) == []


def test_the_check_would_notice_an_undocumented_name():
    tree = ast.parse("weight.quant_state\nhasattr(x, 'SCB')\nfrom peft.tuners import LoraLayer")
    assert {name for _, name in undocumented_uses(tree)} == {"quant_state", "SCB", "LoraLayer"}


def test_every_library_of_an_adapter_has_contract_tests():
    ours = {"hub", "log_level", "quiet"}  # they use what libraries promise
    adapters = {path.stem for path in (PACKAGE / ADAPTERS).glob("[!_]*.py")} - ours
    tests = {path.stem for path in (Path(__file__).parent / "contracts").glob("test_*.py")}
    assert {f"test_{name.removesuffix('_internals')}" for name in adapters} == tests
