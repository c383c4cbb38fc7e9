import pytest

from anima_exp.metrics.metric import Described, Metric, metric


@pytest.mark.parametrize(
    "name, value, written, difference",
    [
        ("loss", 1.5, "1.5000", "+1.5000"),
        ("heldout_loss", 0.54768, "0.5477", "+0.5477"),
        ("exact_match", 0.46, "46.0 %", "+46.0 pp"),
        ("mmlu_micro", 0.4612, "46.1 %", "+46.1 pp"),
        ("perplexity", 12.5, "12.50", "+12.50"),
        ("tokens_per_second", 2156.3, "2,156 tokens/s", "+2,156 tokens/s"),
        ("memory_gib", 17.25, "17.25 GiB", "+17.25 GiB"),
        ("grad_norm", 0.30123, "0.301", "+0.301"),
        ("learning_rate", 0.0002, "0.0002000", "+0.0002000"),
        ("elo", 1012.3, "1012", "+1012"),
        ("win_rate", 0.5, "50.0 %", "+50.0 pp"),
        ("percent_of_reference", 97.25, "97.2 %", "+97.2 pp"),
        ("something", 12.3456, "12.35", "+12.35"),
        ("something", -1234.5, "-1234", "-1234"),
        ("perplexity", 3.2e21, "3.2e+21", "+3.2e+21"),
        ("loss", float("nan"), "nan", "+nan"),
    ],
)
def test_a_metric_is_written_in_its_unit(name, value, written, difference):
    assert metric(name).number(value) == written
    assert metric(name).difference(value) == difference


def test_all_values_of_a_column_have_one_number_of_decimals():
    column = metric("something").in_column([0.5, 12.25, 3.0])
    assert [column.number(value) for value in (0.5, 12.25, 3.0)] == ["0.50", "12.25", "3.00"]
    assert metric("something").in_column([0.0, 0.0]).number(0.0) == "0.0"


def test_a_description_is_the_same_metric_in_every_column():
    assert metric("something").in_column([1.0]) == Metric("something", "maximize")


@pytest.mark.parametrize(
    ("described", "written", "minimize"),
    [
        (Described("minimize", unit="ms", decimals=0), "1,250 ms", True),
        (Described("maximize", percent=True), "125025.0 %", False),
        (Described("minimize"), "1250", True),
    ],
)
def test_a_score_is_written_as_its_maker_describes_it(described, written, minimize):
    one = metric("edit_rate", {"edit_rate": described.to_json()})
    assert one.number(1250.25).replace(",", "") == written.replace(",", "")
    assert one.in_column([1250.25]).number(1250.25) == one.number(1250.25)
    assert one.minimize is minimize


@pytest.mark.parametrize("table", [None, 3, {}, {"direction": "up"}, {"unit": "ms"}])
def test_a_description_that_cannot_be_read_leaves_what_the_name_suggests(table):
    assert metric("edit_rate", {"edit_rate": table}) == metric("edit_rate")


def test_a_direction_is_one_of_two():
    with pytest.raises(ValueError, match="direction='down' is neither minimize nor maximize"):
        Described("down")
