import json

from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load


def test_scores_on_the_same_rows_compare(tmp_path):
    synthetic.grid(tmp_path)
    assert build(load([tmp_path])).caution is None


def test_scores_on_other_rows_are_cautioned_against(tmp_path):
    synthetic.run(tmp_path / "a", **{"data.heldout_rows": 400})
    synthetic.run(tmp_path / "b", **{"data.heldout_rows": 100})
    record = tmp_path / "b/record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "data_fingerprint": "d2"}))
    assert build(load([tmp_path])).caution == (
        "Caution: heldout_loss was not measured on the same rows in all runs. They differ in "
        "the data, data.heldout_rows. Compare runs that share them, with filter=; or give all "
        "one data.heldout_path."
    )


def test_scores_of_a_turn_on_other_rows_are_cautioned_against(tmp_path):
    for name, rows in (("a", 200), ("b", 100)):
        synthetic.run(
            tmp_path / name,
            scores={"heldout_loss": 0.5, "exact_match_turn_2": 0.4},
            **{"evals.exact_match.max_rows": rows},
        )
    runs = load([tmp_path])
    assert build(runs, metric="heldout_loss").caution is None
    caution = build(runs, metric="exact_match_turn_2").caution
    assert caution.startswith("Caution: exact_match_turn_2 was not measured on the same rows")
    assert "They differ in evals.exact_match.max_rows." in caution
