"""Benchmarks are read from folders of CSV files as they were published, or refused in one line."""

import json
import sys

import pytest

from anima_exp.config import BENCHMARKS, MultipleChoiceConfig
from anima_exp.errors import ConfigError, DataError
from anima_exp.evals.multiple_choice.benchmark import ENTRIES
from anima_exp.evals.multiple_choice.reading import read
from anima_exp.evals.multiple_choice.shots import style_of

PLAIN = "What is 1+1?,1,2,3,4,B\n"  # MMLU's, without a header
NAMED = ",Question,A,B,C,D,Answer\n0,一加一？,1,2,3,4,B\n"  # CMMLU's
C_EVAL = "id,question,A,B,C,D,answer,explanation\n0,一加一？,1,2,3,4,B,因为\n"


@pytest.fixture
def folder(tmp_path):
    for split in ("dev", "val"):
        (tmp_path / split).mkdir()
    return tmp_path


def write(folder, split, subject, text, *, ending=True):
    name = f"{subject}_{split}.csv" if ending else f"{subject}.csv"
    (folder / split / name).write_text(text, encoding="utf-8")


def settings(folder, **how):
    return MultipleChoiceConfig(source="", path=str(folder), prompt="mmlu", **{"shots": 1, **how})


OPTIONS = "Question,option_a,option_b,option_c,option_d,target\nWhat is 1+1?,1,2,3,4,B\n,,,,,\n\n"


@pytest.mark.parametrize(
    "text",
    [PLAIN, PLAIN + "\n", NAMED, C_EVAL, OPTIONS],
    ids=["MMLU", "MMLU and an empty line", "CMMLU", "C-Eval", "option_a"],
)
@pytest.mark.parametrize("ending", [True, False])
def test_every_published_form_gives_the_same_question(folder, text, ending):
    for split in ("dev", "val"):
        write(folder, split, "sums", text, ending=ending)
    (subject,) = read("mmlu", settings(folder)).subjects
    assert (subject.name, len(subject.examples)) == ("sums", 1)
    (question,) = subject.questions
    assert question.choices == ("1", "2", "3", "4")
    assert (question.answer, question.letter) == (1, "B")


def test_words_that_look_like_missing_values_are_words(folder):
    write(folder, "val", "odd", '"Which?",None,N/A,nan,NULL,A\n')
    (subject,) = read("mmlu", settings(folder, shots=0)).subjects
    assert subject.questions[0].choices == ("None", "N/A", "nan", "NULL")


def test_a_mapping_gives_titles_and_categories(folder):
    write(folder, "val", "agronomy", NAMED)
    mapping = {"agronomy": {"name": "农学", "category": "Social Sciences"}}
    (folder / "mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
    found = read("cmmlu", settings(folder, shots=0))
    assert found.subjects[0].title == "农学"
    assert found.categories == {"agronomy": "social_sciences"}


def test_mmlus_own_subjects_have_its_four_categories(folder):
    for subject in ("anatomy", "formal_logic"):
        write(folder, "val", subject, PLAIN)
    found = read("mmlu", settings(folder, shots=0))
    assert (found.categories["anatomy"], found.categories["formal_logic"]) == (
        "other",
        "humanities",
    )
    assert found.subjects[1].title == "formal logic"


def test_subjects_can_be_chosen_and_cut(folder):
    for subject in ("a", "b"):
        write(folder, "val", subject, PLAIN * 5)
    (subject,) = read("mmlu", settings(folder, shots=0, subjects=["b"], max_questions=3)).subjects
    assert (subject.name, len(subject.questions)) == ("b", 3)


def mistakes(folder):
    write(folder, "val", "sums", PLAIN)
    where = folder / "val" / "sums_val.csv"
    unpublished = "The test split may have been published without answers."
    return {
        "two": (PLAIN + "no,1,2,3,4,E\n", f"{where}, row 2: the answer is 'E', not one of A to D."),
        "empty": (PLAIN + "no,1,2,3,4,\n", f"{where}, row 2 has no answer. {unpublished}"),
        "short": ("a,b\n", f"{where}, row 1 has no question."),
        "comma": (
            PLAIN + "What, then, is 2+2?,1,2,3,4,D\n",
            f"{where}, row 2 has 8 cells, but row 1 has 6. "
            "Put cells that contain a comma in quotes.",
        ),
        "comma below a header": (
            NAMED + "1,What, then?,1,2,3,4,D\n",
            f"{where}, row 3 has 8 cells, but the header has 7. "
            "Put cells that contain a comma in quotes.",
        ),
        "header": (
            "question,choices,answer\n",
            f"{where}, row 1 is a header without the columns question, A, B, C, ... and answer. "
            "It has: question, choices, answer.",
        ),
        "twice": (
            "question,A,B,A,answer\n",
            f"{where}, row 1: the header names the column A twice.",
        ),
        "quote": ('"open,1,2,3,4,A\n', f"{where} cannot be read as CSV: unexpected end of data."),
    }


@pytest.mark.parametrize(
    "case",
    ["two", "empty", "short", "comma", "comma below a header", "header", "twice", "quote"],
)
def test_a_bad_row_is_named(folder, case):
    text, line = mistakes(folder)[case]
    write(folder, "val", "sums", text)
    with pytest.raises(DataError) as error:
        read("mmlu", settings(folder, shots=0))
    assert str(error.value) == line


def test_a_subject_without_enough_examples_is_named(folder):
    write(folder, "val", "sums", PLAIN)
    write(folder, "dev", "sums", PLAIN * 2)
    with pytest.raises(DataError) as error:
        read("mmlu", settings(folder, shots=5))
    assert str(error.value) == (
        "evals.mmlu.shots=5, but subject sums has 2 worked examples. Add some to its dev split, "
        "or set evals.mmlu.shots=2."
    )


@pytest.mark.parametrize(
    ("how", "line"),
    [
        (
            {"split": "test"},
            "has no CSV files in its folder test. Choose one of val with evals.mmlu.split",
        ),
        ({"subjects": ["x"]}, "evals.mmlu.subjects: there is no subject 'x'. Choose from sums."),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(folder, how, line):
    write(folder, "val", "sums", PLAIN)
    with pytest.raises(DataError) as error:
        read("mmlu", settings(folder, shots=0, **how))
    assert line in str(error.value)


def test_an_empty_last_choice_is_no_choice(folder):
    write(folder, "val", "sums", "1+1?,1,2,3,,B\n")
    (subject,) = read("mmlu", settings(folder, shots=0)).subjects
    assert subject.questions[0].choices == ("1", "2", "3")


def test_a_file_without_questions_and_examples_as_questions_are_mistakes(folder):
    write(folder, "dev", "sums", PLAIN)
    with pytest.raises(DataError, match="would ask the worked examples as questions"):
        read("mmlu", settings(folder, split="dev"))
    write(folder, "val", "sums", "id,question,A,B,C,D,answer\n")
    with pytest.raises(DataError, match="subject sums has no question"):
        read("mmlu", settings(folder, shots=0))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        read("mmlu", settings(tmp_path / "no"))


def test_the_hubs_form_is_read_from_parquet_too(tmp_path):
    import pandas

    place = tmp_path / "hub"
    for split, count in (("dev", 2), ("validation", 3)):
        rows = [
            {"question": f"{split} {n}?", "subject": "sums", "choices": ["1", "2", "3", "4"],
             "answer": n}
            for n in range(count)
        ]  # fmt: skip
        (place / "all").mkdir(parents=True, exist_ok=True)
        pandas.DataFrame(rows).to_parquet(place / "all" / f"{split}-00000-of-00001.parquet")
    (place / "README.md").write_text(
        "---\nconfigs:\n- config_name: all\n  data_files:\n  - split: dev\n    path: all/dev-*\n"
        "  - split: validation\n    path: all/validation-*\n---\n"
    )
    config = MultipleChoiceConfig(source=str(place), prompt="mmlu", shots=2)
    (subject,) = read("mmlu", config).subjects
    assert [question.text for question in subject.examples] == ["dev 0?", "dev 1?"]
    assert [question.answer for question in subject.questions] == [0, 1, 2]


LAW = """
from anima_exp.evals.multiple_choice.benchmark import Benchmark, Question, Subject
from anima_exp.evals.multiple_choice.prompts import Style, ceval

CIVIL = Subject("civil", "civil law", (Question("Q?", ("yes", "no"), 1),))
LAW = Benchmark("law", (CIVIL,), {"civil": "private"})
STYLE = Style(lambda subject: "", lambda asked: asked.text, lambda asked: asked.text, "?")

def law(): return LAW
def style(): return STYLE
def empty(): return Benchmark("law")
"""


@pytest.fixture
def law(tmp_path, monkeypatch):
    (tmp_path / "my_law.py").write_text(LAW)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_law", None)


def own(source, **how):
    return MultipleChoiceConfig(source=source, prompt="mmlu", **{"shots": 0, **how})


def test_every_benchmark_of_the_settings_is_one_entry():
    assert tuple(ENTRIES) == BENCHMARKS
    assert ENTRIES["choices"].scores == {"choices": "macro"}
    assert ENTRIES["mmlu"].scores == {"mmlu": "macro", "mmlu_micro": "micro"}


@pytest.mark.parametrize("source", ["my_law.LAW", "my_law.law"])
def test_a_benchmark_of_your_own_is_named_by_its_dotted_path(law, source):
    found = read("my_bar_exam", own(source))
    assert (found.name, found.subjects[0].title) == ("my_bar_exam", "civil law")
    assert found.categories == {"civil": "private"}
    assert found.scores == {"my_bar_exam": "macro", "my_bar_exam_micro": "micro"}


def test_settings_count_for_a_benchmark_of_your_own(law):
    with pytest.raises(DataError) as error:
        read("law", own("my_law.LAW", shots=2))
    assert str(error.value).startswith(
        "evals.benchmarks.law.shots=2, but subject civil has 0 worked examples."
    )


def test_a_folder_of_your_own_is_a_benchmark_by_any_name(folder):
    write(folder, "val", "sums", PLAIN)
    assert read("bar", settings(folder, shots=0)).key == "evals.benchmarks.bar"


@pytest.mark.parametrize("source", ["my_law.CIVIL", "my_law.empty"])
def test_what_is_no_benchmark_says_what_it_is(law, source):
    with pytest.raises(
        ConfigError, match=f"evals.benchmarks.law.source={source} is neither a Benchmark"
    ):
        read("law", own(source))


@pytest.mark.parametrize("name", ["my_law.STYLE", "my_law.style"])
def test_a_prompt_of_your_own_is_a_style_or_a_function_that_returns_one(law, name):
    assert style_of(name, key="evals.mmlu.prompt").cue == "?"


def test_what_is_no_prompt_says_what_it_is(law):
    with pytest.raises(ConfigError, match=r"evals\.mmlu\.prompt=my_law\.LAW is neither a Style"):
        style_of("my_law.LAW", key="evals.mmlu.prompt")
