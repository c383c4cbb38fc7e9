import csv
import io
import json

from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.export import FORMATS
from anima_exp.comparison.runs import load


def two(folder, first="a|b_1", second="50 %\\&"):
    """Two data sets with names that every format has to escape."""
    synthetic.run(folder / "one", loss=0.5, **{"data.name": first})
    synthetic.run(folder / "two", loss=0.25, **{"data.name": second})
    return build(load([folder]))


def test_markdown_has_one_cell_for_each_value(tmp_path):
    lines = FORMATS["markdown"](two(tmp_path)).splitlines()
    assert lines[:2] == [
        "| # | data | heldout\\_loss | exact\\_match | tokens | time | GiB |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    assert lines[2].startswith("| 1 | 50 %\\\\& | 0.2500 |")
    assert lines[3].startswith("| 2 | a\\|b\\_1 | 0.5000 |")


def test_latex_escapes(tmp_path):
    lines = FORMATS["latex"](two(tmp_path)).splitlines()
    assert lines[2] == "\\begin{tabular}{rlrrrrr}"
    assert lines[4].startswith("\\# & data & heldout\\_loss &")
    assert lines[6].startswith("1 & 50 \\%\\textbackslash{}\\& & 0.2500 &")
    assert lines[7].startswith("2 & a|b\\_1 & 0.5000 & 46.0 \\% &")


def bold(folder, table):
    """The comment, and the ranks that are bold; of {rank: [loss of each seed]}."""
    for rank, losses in table.items():
        for seed, loss in enumerate(losses):
            synthetic.run(folder / f"{rank}-{seed}", loss=loss, seed=seed, **{"lora.rank": rank})
    lines = FORMATS["latex"](build(load([folder]))).splitlines()
    return lines[1], [line.split("{")[1][0] for line in lines if line.startswith("\\textbf")]


def test_latex_sets_in_bold_what_is_best_and_what_cannot_be_told_from_it(tmp_path):
    first, second, far = [0.5, 0.51, 0.52], [0.505, 0.504, 0.53], [1.5, 1.51, 1.52]
    said = (
        "% Bold: the best row and all that do not differ from it beyond chance (95 %, corrected "
        "for the number of rows)."
    )
    assert bold(tmp_path / "one", {8: first, 64: far}) == (said, ["1"])
    assert bold(tmp_path / "two", {8: first, 16: second, 64: far}) == (said, ["1", "2"])


def test_latex_sets_nothing_in_bold_where_nothing_can_be_told(tmp_path):
    said = "% Bold: none, because no row stands out (95 %, corrected for the number of rows)."
    assert bold(tmp_path / "alone", {8: [0.5], 64: [1.5]}) == (said, [])
    assert bold(tmp_path / "alike", {8: [0.5, 0.9], 64: [0.6, 0.8]}) == (said, [])


def test_csv_has_full_numbers_and_every_run(tmp_path):
    synthetic.grid(tmp_path, seeds=(0, 1))
    found = build(load([tmp_path]))
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](found))))
    assert len(rows) == 4
    first = rows[0]
    assert (first["rank"], first["lora.rank"], first["lora.dropout"]) == ("1", "64", "0.05")
    assert float(first["heldout_loss"]) == found.rows[0].score.mean
    assert float(first["heldout_loss_low"]) == found.rows[0].score.low
    assert (first["heldout_loss_n"], first["tokens"], first["memory_gib"]) == ("2", "6000", "0.68")
    assert first["runs"] == "tiny-sample-r64-d0.05-s0 tiny-sample-r64-d0.05-s1"


def test_csv_quotes_what_holds_a_comma(tmp_path):
    rows = csv.DictReader(io.StringIO(FORMATS["csv"](two(tmp_path, 'x,"y"', "z"))))
    assert [row["data.name"] for row in rows] == ["z", 'x,"y"']


def test_json_is_everything(tmp_path):
    cells = [(folder, []) for folder in synthetic.grid(tmp_path / "runs")]
    cells.append((synthetic.run(tmp_path / "runs/bad", failure="no memory"), []))
    sweep = synthetic.sweep(tmp_path / "s", cells, swept=["lora.rank", "lora.dropout"])
    found = json.loads(FORMATS["json"](build(load([sweep]), baseline="lora.rank=8")))
    assert found["counts"] == {"done": 12, "failed": 1, "unfinished": 0, "stopped": 0}
    assert found["settings"] == ["lora.rank", "lora.dropout"]
    assert found["leaderboard"][0]["runs"] == {f"tiny-sample-r64-d0.05-s{s}": s for s in range(3)}
    assert {effect["key"] for effect in found["effects"]["effects"]} == {
        "lora.rank",
        "lora.dropout",
        "seed",
    }
    assert found["baseline"]["differences"][0]["pairs"] == 6
    assert found["runs"][-1]["failure"] == "no memory"
    assert found["sweeps"][0]["question"] == "Which rank is best?"


def test_nothing_done_is_an_empty_table(tmp_path):
    synthetic.run(tmp_path / "a", done=False)
    found = build(load([tmp_path]))
    assert json.loads(FORMATS["json"](found))["leaderboard"] == []
    for name in ("markdown", "latex", "csv"):
        assert FORMATS[name](found)
