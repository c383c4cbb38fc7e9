import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load

TABLE = {
    "source": "Table 1",
    "metric": "accuracy, per cent",
    "confirmed": True,
    "rows": [
        {"data.name": "chip2", "lora.rank": 8, "value": 34.5},
        {"data.name": "chip2", "lora.rank": 64, "value": 35.5},
        {"data.name": "alpaca", "lora.rank": 8, "value": 36.5},
        {"data.name": "alpaca", "lora.rank": 256, "value": 37.5},
    ],
}


def matched_rows(folder, *settings):
    cells = [
        (synthetic.run(folder / f"run{i}", loss=float(i), **one), [])
        for i, one in enumerate(settings)
    ]
    swept = ["data.name", "lora.rank"]
    (found,) = build(
        load([synthetic.sweep(folder / "s", cells, swept=swept, published=TABLE)])
    ).published
    return found, [ours and ours.mean for _, _, ours in found.rows]


def test_a_replaced_data_set_is_matched_by_the_rest(tmp_path):
    # `sample` stands for all of the paper's sets.
    found, ours = matched_rows(tmp_path, {"lora.rank": 8}, {"lora.rank": 64})
    assert found.matched == ["lora.rank"]
    assert ours == [0.0, 1.0, 0.0, None]
    assert [value for _, value, _ in found.rows] == [34.5, 35.5, 36.5, 37.5]


def test_a_data_set_of_the_table_is_matched_with_it(tmp_path):
    _, ours = matched_rows(tmp_path, {"data.name": "chip2", "lora.rank": 8},
                     {"data.name": "alpaca", "lora.rank": 8})  # fmt: skip
    assert ours == [0.0, None, 1.0, None]


def test_seeds_give_ours_an_interval(tmp_path):
    found, ours = matched_rows(tmp_path, {"lora.rank": 8, "seed": 0}, {"lora.rank": 8, "seed": 1})
    assert ours[0] == pytest.approx(0.5)
    assert found.rows[0][2].n == 2
    # 0 and 1: s / sqrt(2) = 0.5, t(1) = 12.7062.
    assert found.rows[0][2].half == pytest.approx(12.7062 / 2, rel=1e-4)


def test_a_rehearsal_stands_beside_the_run_it_rehearses(tmp_path):
    table = TABLE | {
        "rows": [{"data.max_train_rows": n, "value": float(n)} for n in (50_000, 100_000)]
    }
    cells = [
        (synthetic.run(tmp_path / f"run{n}", loss=n / 1000, scale=0.02,
                       **{"data.max_train_rows": n}), [])
        for n in (1000, 2000)
    ]  # fmt: skip
    swept = ["data.max_train_rows"]
    (found,) = build(
        load([synthetic.sweep(tmp_path / "s", cells, swept=swept, published=table)])
    ).published
    assert [ours and ours.mean for _, _, ours in found.rows] == [1.0, 2.0]
