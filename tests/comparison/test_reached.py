import json

import pytest
from support import synthetic

from anima_exp.compare import main
from anima_exp.comparison.build import build
from anima_exp.comparison.export import FORMATS
from anima_exp.comparison.runs import load


@pytest.fixture
def asha(tmp_path):
    """Four ranks by two seeds: two ranks stop at step 3, one at step 9, one is trained to 27."""
    ends = {8: 3, 16: 3, 32: 9, 64: 27}
    cells, stopped, rungs = [], {}, {}
    for rank, end in ends.items():
        for seed in (0, 1):
            name, loss = f"r{rank}s{seed}", 2.0 - rank / 100 + seed / 10
            settings = {"lora.rank": rank, "seed": seed}
            run = synthetic.run(tmp_path / "runs" / name, loss=loss, steps=end, done=end == 27,
                                **settings)  # fmt: skip
            cells.append((run, ["tracking=none", f"lora.rank={rank}", f"seed={seed}"]))
            steps = [step for step in (3, 9) if step <= end]
            rungs[name] = [
                {"rung": n, "step": step, "value": loss} for n, step in enumerate(steps, start=1)
            ]
            if end < 27:
                stopped[name] = {
                    "step": end, "metric": "heldout_loss", "value": loss, "reason": "worse"
                }  # fmt: skip
    return synthetic.sweep(tmp_path / "s", cells, stopped=stopped, reached=rungs)


def test_every_cell_has_its_settings_its_step_and_its_score_there(asha):
    found = build(load([asha])).reached
    assert [(one.settings, one.state, one.step, one.score.n) for one in found] == [
        ({"lora.rank": "64"}, "done", 27, 2),
        ({"lora.rank": "32"}, "stopped early", 9, 2),
        ({"lora.rank": "16"}, "stopped early", 3, 2),
        ({"lora.rank": "8"}, "stopped early", 3, 2),
    ]
    assert found[2].score.mean == pytest.approx(2.0 - 0.16 + 0.05)
    # Two values 0.1 apart: s = 0.0707, over sqrt(2) times t(1).
    assert found[2].score.half == pytest.approx(12.7062 * 0.05, rel=1e-4)


def test_the_terminal_and_markdown_show_them(asha, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([str(asha)]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Last step of every cell; heldout_loss can be compared at equal steps only")
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["rank", "state", "step", "heldout_loss", "seeds"],
        ["64", "done", "27", "1.4100", "±", "0.6353", "2"],
        ["32", "stopped", "early", "9", "1.7300", "±", "0.6353", "2"],
    ]
    text = FORMATS["markdown"](build(load([asha])))
    assert "| 32 | stopped early | 9 | 1.7300 ± 0.6353 | 2 |" in text
    assert len(json.loads(FORMATS["json"](build(load([asha]))))["reached"]) == 4


def test_another_metric_is_read_from_the_runs_at_that_step(asha):
    found = {
        one.settings["lora.rank"]: one for one in build(load([asha]), metric="exact_match").reached
    }
    assert found["32"].step == 9
    assert found["32"].score.mean == pytest.approx(0.46)


def test_a_sweep_without_early_stopping_has_no_such_table(tmp_path):
    cells = [(run, []) for run in synthetic.grid(tmp_path / "runs")]
    assert build(load([synthetic.sweep(tmp_path / "s", cells)])).reached == []
