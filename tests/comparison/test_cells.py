from support import synthetic

from anima_exp.comparison.cells import cells, differing
from anima_exp.comparison.choose_metric import metric
from anima_exp.comparison.runs import load

LOSS = metric("heldout_loss")


def runs(folder, *settings):
    for place, one in enumerate(settings):
        synthetic.run(folder / f"run{place}", **one)
    return load([folder])


def test_seeds_of_one_setting_are_one_cell(tmp_path):
    synthetic.grid(tmp_path, ranks=(8, 64), dropouts=(0.05,), seeds=(0, 1, 2), noise=0.0)
    found = load([tmp_path])
    assert differing(found) == ["lora.rank"]
    made = {cell.label: cell for cell in cells(found.done(), ["lora.rank"])}
    assert set(made) == {"rank=8", "rank=64"}
    assert made["rank=64"].values(LOSS) == [0.9, 0.9, 0.9]
    assert made["rank=64"].by_seed(LOSS) == {0: 0.9, 1: 0.9, 2: 0.9}


def test_a_name_stands_for_what_belongs_to_it(tmp_path):
    found = runs(
        tmp_path,
        {"model.name": "llama7b", "model.source": "huggyllama/llama-7b"},
        {"model.name": "llama13b", "model.source": "huggyllama/llama-13b"},
    )
    assert differing(found) == ["model.name"]
    assert [cell.label for cell in cells(found.done(), ["model.name"])] == [
        "model=llama7b",
        "model=llama13b",
    ]


def test_a_recommended_value_follows_its_model(tmp_path):
    rates = [
        {"model.name": name, "model.recommended.learning_rate": r, "optimizer.learning_rate": r}
        for name, r in (("7b", 2e-4), ("13b", 2e-4), ("33b", 1e-4))
    ]
    assert differing(runs(tmp_path / "as_advised", *rates)) == ["model.name"]
    rates[0]["optimizer.learning_rate"] = 1e-3
    assert differing(runs(tmp_path / "mine", *rates)) == ["model.name", "optimizer.learning_rate"]


def test_two_settings_changed_by_hand_are_both_told(tmp_path):
    # With two runs every pair of settings goes together; to name one alone would mislead.
    found = runs(
        tmp_path,
        {"lora.rank": 8, "optimizer.learning_rate": 1e-3},
        {"lora.rank": 64, "optimizer.learning_rate": 2e-3},
    )
    assert differing(found) == ["lora.rank", "optimizer.learning_rate"]


def test_of_a_sweep_only_what_was_swept_is_told_in_its_order(tmp_path):
    cells = [
        (synthetic.run(tmp_path / f"r{rank}-{rate}",
                       **{"lora.rank": rank, "lora.alpha": 2.0 * rank + rate,
                          "optimizer.learning_rate": rate}), [])
        for rank in (8, 64) for rate in (1e-3, 2e-3)
    ]  # fmt: skip
    swept = ["optimizer.learning_rate", "lora.rank"]
    found = load([synthetic.sweep(tmp_path / "s", cells, swept=swept)])
    assert differing(found) == swept


def test_a_swept_group_is_told_by_its_name(tmp_path):
    cells = [
        (synthetic.run(tmp_path / name, **{"model.name": name, "model.source": f"x/{name}"}), [])
        for name in ("llama7b", "llama13b")
    ]
    found = load([synthetic.sweep(tmp_path / "s", cells, swept=["model"])])
    assert differing(found) == ["model.name"]


def test_labels_and_places_are_no_difference(tmp_path):
    found = runs(
        tmp_path,
        {"run_dir": "a", "tracking.project": "p", "trainer.log_every": 1, "cache_dir": "x"},
        {"run_dir": "b", "tracking.project": "q", "trainer.log_every": 2, "cache_dir": "y"},
    )
    assert differing(found) == []
    (cell,) = cells(found.done(), [])
    assert len(cell.runs) == 2


def test_an_older_run_without_a_setting_does_not_make_it_differ(tmp_path):
    assert differing(runs(tmp_path, {"lora.new": 1}, {})) == []


def test_equal_numbers_of_two_types_are_one_value(tmp_path):
    assert differing(runs(tmp_path, {"lora.alpha": 16}, {"lora.alpha": 16.0})) == []


def test_among_many_settings_a_cell_is_named_by_what_is_unusual(tmp_path):
    keys = [f"trainer.some_longer_setting_{letter}" for letter in "abcdef"]
    usual = dict.fromkeys(keys, 1)
    odd = [{**usual, key: 2} for key in keys]
    found = cells(runs(tmp_path, usual, *odd).done(), keys)
    assert sorted(cell.label for cell in found) == [
        "as most",
        *(f"{key.removeprefix('trainer.')}=2" for key in keys),
    ]
