"""A function of the user's own measures a model as ours do, or its mistake is one line."""

import random
import sys
from types import SimpleNamespace

import pytest

from anima_exp.errors import ConfigError, TrainingError
from anima_exp.evals import custom, score_names
from anima_exp.evals.context import EvalContext
from anima_exp.experiment.preflight import check_files, check_inputs
from anima_exp.metrics.metric import metric
from anima_exp.results import identity
from anima_exp.sweeping.checks import check_metric
from anima_exp.sweeping.checks import metric as sweep_metric

MINE = """
import random
import numpy as np
import torch
from anima_exp.evals.custom import Described, EvalContext, scored

@scored("minimize", unit="letters", decimals=1)
def letters(context: EvalContext, max_rows: int = 2, *, extra: float = 0.0):
    return sum(len(row.response) for row in context.heldout[:max_rows]) + extra

@scored("maximize", percent=True, parts={"ms": Described("minimize", unit="ms", decimals=0)})
def several(context):
    return {"f1": np.float32(0.5), "ms": torch.tensor(12), "several": 1}

def drawn(context): return random.random() + float(torch.rand(1)) + np.random.rand()
def nan(context): return float("nan")
def text(context): return "0.5"
def yes(context): return True
def nothing(context): pass
def key(context): return {"a b": 1.0}
def heldout(context): return {"loss": 1.0}
def broken(context): return [][1]
def bare(): return 1.0
def needs(context, rows): return 1.0
value = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_evals.py").write_text(MINE)
    (tmp_path / "my_syntax.py").write_text("def f(context:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_evals.py"
    for name in ("my_evals", "my_syntax"):
        sys.modules.pop(name, None)


@pytest.fixture
def context(compose):
    class Rows:
        def __len__(self):
            return 3

        def prompt_ids(self, number):
            return [1, number]

        def response_ids(self, number):
            return [5] * (number + 1)

    tokenizer = SimpleNamespace(decode=lambda ids, **_: "x" * len(ids))
    return EvalContext(None, tokenizer, compose(), 40, Rows())


def one(compose, name, *more):
    (found,) = custom.load(compose(f"evals.custom.{name}=my_evals.{name}", *more)).values()
    return found


def test_a_number_is_a_score_by_the_name_of_the_evaluation(mine, compose, context):
    assert one(compose, "letters").scores(context) == {"letters": 3.0}


def test_options_are_the_other_parameters_of_the_function(mine, compose, context):
    (found,) = custom.load(
        compose(
            "evals.custom.short.function=my_evals.letters",
            "evals.custom.short.max_rows=1",
            "evals.custom.short.extra=0.5",
        )
    ).values()
    assert found.scores(context) == {"short": 1.5}


def test_a_table_gives_a_score_for_each_key(mine, compose, context):
    found = one(compose, "several").scores(context)
    assert found == {"several_f1": 0.5, "several_ms": 12.0, "several": 1.0}
    assert {type(value) for value in found.values()} == {float}


def test_random_numbers_are_the_same_each_time_and_leave_training_alone(mine, compose, context):
    import torch

    drawn = one(compose, "drawn")
    first = drawn.scores(context)
    random.seed(3)
    torch.manual_seed(3)
    expected = (random.random(), float(torch.rand(1)))
    random.seed(3)
    torch.manual_seed(3)
    assert drawn.scores(context) == first
    assert (random.random(), float(torch.rand(1))) == expected


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "nan",
            "returned nan at step 40, which cannot be compared. Return",
        ),
        (
            "text",
            "returned the text '0.5' at step 40. It must return a number, or",
        ),
        ("yes", "returned True at step 40. It must return a number, or"),
        (
            "nothing",
            "returned nothing (None) at step 40. It must return a number, or",
        ),
        ("key", "returned the key 'a b'. A key becomes part of the name of a score"),
    ],
)
def test_what_is_no_score_is_one_line_that_names_the_setting(mine, compose, context, name, line):
    with pytest.raises((ConfigError, TrainingError)) as error:
        one(compose, name).scores(context)
    assert str(error.value).startswith(f"evals.custom.{name}=my_evals.{name} {line}")


def test_a_score_that_another_evaluation_gives_is_refused(mine, compose, context):
    with pytest.raises(ConfigError, match="returns the score heldout_loss, which another"):
        one(compose, "heldout").scores(context, taken=["heldout_loss"])


@pytest.mark.parametrize(
    ("name", "part"), [("answers", "match"), ("eval", "seconds"), ("memory", "gib")]
)
def test_a_score_cannot_have_the_name_of_a_value_that_every_run_has(compose, context, name, part):
    mine = custom.Custom(name, "mine.f", lambda context: {part: 1.0}, {})
    with pytest.raises(ConfigError) as error:
        mine.scores(context)
    assert str(error.value) == (
        f"evals.custom.{name}=mine.f returns the score {name}_{part}, which is the name of a value "
        "that every run logs. Rename the evaluation or the key of its dict."
    )


def test_an_option_cannot_have_the_name_of_the_context():
    def takes_any(context, **options):
        return 1.0

    with pytest.raises(ConfigError, match=r"^evals.custom.x.context is not an option: mine"):
        custom._check_options(takes_any, {"context": 1}, "mine.f", "evals.custom.x")


def test_an_option_that_is_not_finite_is_refused(mine, compose):
    with pytest.raises(ConfigError, match=r"^evals.custom.x.extra=inf must be a finite number"):
        compose("+evals.custom.x={function: my_evals.letters, extra: inf}")


def test_a_bug_keeps_its_traceback_and_names_the_setting(mine, compose, context):
    with pytest.raises(IndexError) as error:
        one(compose, "broken").scores(context)
    assert error.value.__notes__ == ["evals.custom.broken=my_evals.broken raised this at step 40."]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["evals.custom.a=my_evals.leters"],
            "evals.custom.a=my_evals.leters does not exist. Did you mean 'letters'?",
        ),
        (["evals.custom.a=my_evals.value"], "evals.custom.a=my_evals.value is not a function."),
        (
            ["evals.custom.a=my_syntax.f"],
            "evals.custom.a=my_syntax.f cannot be imported: SyntaxError: '(' was never closed "
            "(my_syntax.py, line 1). Correct the module.",
        ),
        (
            ["evals.custom.a.function=my_evals.letters", "evals.custom.a.max_row=3"],
            "evals.custom.a.max_row: my_evals.letters has no such option. "
            "Did you mean 'evals.custom.a.max_rows'?",
        ),
        (
            ["evals.custom.a=my_evals.needs"],
            "evals.custom.a=my_evals.needs needs a value for its option rows. "
            "Set evals.custom.a.rows=... together with evals.custom.a.function=my_evals.needs.",
        ),
        (
            ["evals.custom.a=my_evals.bare"],
            "evals.custom.a=my_evals.bare takes no argument. "
            "Its first argument must be the EvalContext: def bare(context).",
        ),
        (
            ["evals.custom.a.functoin=my_evals.letters"],
            "evals.custom.a names no function. Did you mean 'function' by 'functoin'?",
        ),
        (
            ["evals.custom.loss=my_evals.letters"],
            "evals.custom.loss: every run already has a score named loss. Rename it.",
        ),
        (
            ["evals.benchmarks.law.pth=x"],
            "There is no setting 'evals.benchmarks.law.pth'. "
            "Did you mean 'evals.benchmarks.law.path'?",
        ),
        (
            ["evals.benchmarks.law.path=x", "evals.benchmarks.law.shots=-1"],
            "evals.benchmarks.law.shots=-1 must be at least 0.",
        ),
    ],
)
def test_a_mistake_is_one_line_before_torch_is_imported(mine, compose, overrides, line):
    with pytest.raises(ConfigError) as error:
        check_inputs(compose(*overrides))
    assert str(error.value).startswith(line)


def test_a_plan_looks_for_the_module_and_does_not_import_it(mine, compose):
    check_files(compose("evals.custom.letters=my_evals.letters"))
    assert "my_evals" not in sys.modules
    with pytest.raises(ConfigError, match=r"a=my_eval\.f cannot be imported: No mod"):
        check_files(compose("evals.custom.a=my_eval.f"))


def test_the_function_counts_in_the_name_by_its_code_and_its_options(mine, compose):
    def name(*more):
        return identity.run_name(compose("evals.custom.letters.function=my_evals.letters", *more))

    first = name()
    assert first != identity.run_name(compose())
    assert first == identity.run_name(compose("evals.custom.letters=my_evals.letters"))
    assert name("evals.custom.letters.max_rows=1") != first
    mine.write_text(f"{MINE}\n# changed\n")
    assert name() != first


def test_its_author_says_which_way_is_better_and_in_which_unit(mine, compose):
    config = compose(
        "evals.custom.letters=my_evals.letters",
        "evals.custom.several=my_evals.several",
        "evals.custom.yes=my_evals.yes",
    )
    names = ["letters", "several_f1", "several_ms", "yes", "heldout_loss"]
    said = custom.described(config, names)
    assert [metric(name, said).number(12.0) for name in names[:3]] == [
        "12.0 letters", "1200.0 %", "12 ms",
    ]  # fmt: skip
    assert [metric(name, said).direction for name in names[:3]] == [
        "minimize", "maximize", "minimize",
    ]  # fmt: skip
    assert said.keys() == {"letters", "several_f1", "several_ms"}


def test_a_sweep_goes_by_it_in_the_direction_that_it_says(mine, compose):
    evals = ("evals.custom.several=my_evals.several", "sweep.metric=several_ms")
    config = compose(*evals)
    check_metric(config)
    assert sweep_metric(config).minimize
    with pytest.raises(ConfigError) as error:
        sweep_metric(compose(*evals, "sweep.direction=maximize"))
    assert str(error.value) == (
        "sweep.direction=maximize contradicts the evaluation that defines several_ms, which says "
        "minimize. Leave sweep.direction out."
    )


@pytest.mark.parametrize(("name", "minimize"), [("heldout_loss", True), ("exact_match", False)])
def test_without_a_direction_a_sweep_goes_the_way_its_metric_is_better(compose, name, minimize):
    assert sweep_metric(compose(f"sweep.metric={name}")).minimize is minimize


@pytest.mark.parametrize(
    ("score", "group"),
    [
        ("heldout_loss", "evals.heldout"), ("exact_match", "evals.exact_match"),
        ("answers_match", "evals.answers"), ("mmlu_micro", "evals.mmlu"),
        ("law_micro", "evals.benchmarks.law"), ("qa_f1", "evals.custom.qa"),
        ("qa_hard_f1", "evals.custom.qa_hard"),
    ],
)  # fmt: skip
def test_a_score_leads_to_the_settings_of_its_evaluation(score, group):
    settings = {
        "evals.custom.qa.function": "", "evals.custom.qa_hard.function": "",
        "evals.benchmarks.law.path": "", "evals.mmlu.path": "",
    }  # fmt: skip
    assert score_names.group(score, settings) == group
