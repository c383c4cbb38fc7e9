"""The whole command: what stands in the terminal."""

import subprocess
import sys

import pytest
from support import synthetic

from anima_exp.compare import main


@pytest.fixture
def show(monkeypatch, capsys):
    """Lines of `python -m anima_exp.compare`, blanks at their ends removed."""

    def run(*arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        status = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert (status != 0) == bool(told.err)
        return [line.rstrip() for line in (told.err or told.out).splitlines()]

    return run


def test_a_leaderboard_shows_what_differs_the_score_and_the_cost(show, tmp_path):
    synthetic.grid(tmp_path, dropouts=(0.05,), noise=0.0)
    lines = show(tmp_path)
    assert lines[0].startswith("6 done; heldout_loss, smaller is better; before training 2.1900")
    assert lines[2:6] == [
        "#  rank     heldout_loss  seeds   exact_match  tokens  time   GiB",
        "1    64  0.9000 ± 0.0000      3  46.0 ± 0.0 %     6 k  50 s  0.68",
        "2     8  1.0000 ± 0.0000      3  46.0 ± 0.0 %     6 k  50 s  0.68",
        "",
    ]
    assert lines[-2:] == [
        "rank=64 is better than 8 (64 against 8: 0.1000 ± 0.0000, paired over 3 runs of each).",
        "The best cell is rank=64: heldout_loss 0.9000, 3 seeds.",
    ]


@pytest.mark.parametrize("columns", [80, 160])
def test_no_table_is_wider_than_the_terminal(show, tmp_path, columns):
    synthetic.grid(tmp_path, ranks=(2, 4, 8, 16, 32, 64), dropouts=(0.0, 0.05, 0.1))
    lines = show(tmp_path, "baseline=rank=8", columns=columns)
    tables = [line for line in lines if line[:1] in "# 0123456789" and "done;" not in line]
    assert max(map(len, tables)) <= columns
    assert any(line.startswith("interactions and chance") for line in lines)


def test_a_narrow_terminal_says_what_it_leaves_out(show, tmp_path):
    synthetic.grid(tmp_path)
    lines = show(tmp_path, columns=40)
    assert "columns left out for width: exact_match, tokens, time, GiB" in lines
    assert "#  rank  dropout     heldout_loss  seeds" in lines


def test_settings_that_do_not_fit_side_by_side_share_a_column(show, tmp_path):
    keys = [f"trainer.some_longer_setting_{letter}" for letter in "abcdef"]
    for place, key in enumerate(keys):
        synthetic.run(tmp_path / f"run{place}", loss=place, **{**dict.fromkeys(keys, 1), key: 2})
    lines = show(tmp_path)
    assert "1  some_longer_setting_a=2        0.0000       46.0 %     6 k  50 s  0.68" in lines
    assert "Too many settings differ among too few runs to tell what matters: use filter=." in lines


def test_a_long_table_says_how_much_is_not_shown(show, tmp_path):
    synthetic.grid(tmp_path, ranks=tuple(range(1, 42)), dropouts=(0.0,), seeds=(0,))
    assert "11 more below: top=41 shows all" in show(tmp_path)
    assert "9 more below: top=41 shows all" in show(tmp_path, "top=32")
    assert not any("below" in line for line in show(tmp_path, "top=41"))


def test_one_run_has_nothing_to_compare(show, tmp_path):
    lines = show(synthetic.run(tmp_path / "a"))
    assert "1  a          0.5000       46.0 %     6 k  50 s  0.68" in lines
    assert lines[-1] == "There is nothing to compare it with."


def test_nothing_done_is_one_clear_line(show, tmp_path):
    synthetic.run(tmp_path / "a", done=False)
    assert show(tmp_path) == ["Nothing is done yet: 1 unfinished."]


def test_failures_are_named_the_first_five_of_them(show, tmp_path):
    for place in range(7):
        synthetic.run(tmp_path / f"bad{place}", failure="CUDA out of memory\nmore")
    synthetic.run(tmp_path / "good")
    lines = show(tmp_path)
    assert lines[0].startswith("1 done, 7 failed; ")
    at = lines.index("Failed: 7")
    assert lines[at + 1 : at + 7] == [
        *(f"  bad{place}: CUDA out of memory" for place in range(5)),
        "  and 2 more",
    ]


def test_a_broken_record_is_told_by_name(show, tmp_path):
    (synthetic.run(tmp_path / "a") / "record.json").write_text('{"name": 1}')
    assert any(line.startswith("  a: record.json cannot be read: ") for line in show(tmp_path))


def test_what_a_run_wrote_cannot_steer_the_terminal(show, tmp_path):
    synthetic.run(tmp_path / "a", failure="\x1b[31mred [bold]")
    record = synthetic.run(tmp_path / "b", **{"data.name": "\x1b[2J[red]HALF"}) / "record.json"
    record.write_text(record.read_text().replace("HALF", "\\ud800"))  # half a letter
    synthetic.run(tmp_path / "c")
    text = "\n".join(show(tmp_path))
    assert "\x1b" not in text
    assert "\\x1b[31mred [bold]" in text
    assert "\\x1b[2J[red]" in text


def test_a_sweep_tells_its_question_its_stops_and_the_papers_table(show, tmp_path):
    cells = [(folder, []) for folder in synthetic.grid(tmp_path / "runs")]
    cells.append((synthetic.run(tmp_path / "runs/slow", done=False, **{"lora.rank": 2}), []))
    sweep = synthetic.sweep(
        tmp_path / "s",
        cells,
        swept=["lora.rank", "lora.dropout", "seed"],
        stopped={"slow": {"step": 83, "reason": "heldout_loss 1.23 is above the median"}},
        published={
            "source": "Figure 4",
            "metric": "RougeL",
            "rows": [{"lora.rank": 8, "data.name": "alpaca", "value": 64}],
        },
    )
    lines = show(sweep)
    assert lines[0] == "Which rank is best?"
    assert "  slow: at step 83: heldout_loss 1.23 is above the median" in lines
    assert "Figure 4: RougeL" in lines
    assert any(line.startswith("8     alpaca         64   0.99") for line in lines)
    assert (
        "These figures have not been checked against the paper. "
        "Our runs differ from the paper's in data.name." in lines
    )


def test_what_a_file_format_leaves_out_is_said_beside_it(tmp_path, capsys):
    synthetic.run(tmp_path / "good")
    synthetic.run(tmp_path / "bad", failure="no memory")
    assert main([str(tmp_path), "format=csv"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2
    assert told.err == "anima_exp: Not all runs are done: 1 failed.\n"


def test_a_mistake_is_one_line(show, tmp_path):
    assert show(tmp_path / "nix") == [
        f"anima_exp: {tmp_path}/nix does not exist. Give run folders, a sweep's folder, or runs/."
    ]


def test_a_pipe_gets_whole_sentences(tmp_path):
    synthetic.grid(tmp_path)
    command = [sys.executable, "-m", "anima_exp.compare", str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    assert told.stdout.splitlines()[-1].startswith("rank=64 dropout=0.05 is ")
    assert told.stdout.splitlines()[-1].endswith(").") or "others" in told.stdout


HEAVY = ("torch", "transformers", "datasets", "peft", "hydra", "pandas", "plotly", "wandb")


def test_nothing_heavy_is_imported(tmp_path):
    synthetic.grid(tmp_path)
    probe = f"""
import sys
from anima_exp.compare import main
main([{str(tmp_path)!r}, "baseline=rank=8"])
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert told.stdout.splitlines()[-1] == ""
