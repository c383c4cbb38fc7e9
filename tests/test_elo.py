"""The whole command: what stands in the terminal, and in files."""

import csv
import io
import json
import subprocess
import sys

import pytest
from support import games

from anima_exp.elo import main
from anima_exp.tournament.export import scores
from anima_exp.tournament.rate import Tournament


@pytest.fixture
def show(monkeypatch, capsys):
    """Lines of `python -m anima_exp.elo`, blanks at their ends removed."""

    def run(*arguments, columns=100):
        monkeypatch.setenv("COLUMNS", str(columns))
        status = main(["permutations=200", "bootstrap_samples=200", *map(str, arguments)])
        told = capsys.readouterr()
        text = told.err if status else told.out
        return [line.rstrip() for line in text.splitlines()]

    return run


def test_it_ends_with_whether_the_best_can_be_told_from_the_second(show, tmp_path):
    lines = show(games.tournament(tmp_path, gap=2.0))
    assert lines[0] == "240 verdicts on 40 questions; 3 players; 240 matches rated."
    assert lines[-1].startswith("ada is better than bob: by ")
    assert any(line.startswith("1  ada") for line in lines)
    assert any(
        line.startswith("Elo: mean of 200 random orders, all 240 matches each") for line in lines
    )
    assert any(line.startswith("Of 120 pairs of answers judged in both orders, ") for line in lines)
    assert (
        "Length bias: the lengths are unknown. Give the answers with answers=[FILE,...]." in lines
    )


def test_relative_verdicts_give_percentages_of_who_is_in_every_pair(show, tmp_path):
    lines = show(games.relative(tmp_path))
    at = lines.index("Score in % of chat's")
    assert lines[at + 2].split() == ["ada", "83.3", "93.8", "88.2", "2.6", "20", "0"]
    assert not any("No scores in percent" in line for line in lines)


def test_two_players_need_a_reference_to_be_named(show, tmp_path):
    games.relative(tmp_path, players=("ada",))
    said = (
        "No scores in percent of a reference: ada and chat are in every pair. Give reference=NAME."
    )
    assert said in show(tmp_path)
    assert "Score in % of ada's" in show(tmp_path, "reference=ada")


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_no_table_is_wider_than_the_terminal(show, tmp_path, columns):
    players = [f"a-model-of-some-size-{letter}" for letter in "abcdefgh"]
    lines = show(games.tournament(tmp_path, players=players, questions=6), columns=columns)
    tables = [line for line in lines if line[:1] in "#12345678" or line.startswith("a-model")]
    assert len(tables) > 16
    shown = [line for line in tables if not line.endswith(".")]
    assert max(map(len, shown)) <= columns


def test_one_pass_starts_where_it_is_told(show, tmp_path):
    games.write(tmp_path / "a.jsonl", [games.ours(1, "ada", "bob", 1)])
    lines = show(tmp_path, "sequential=true", "initial_rating=ada=1400", "k=22")
    row = next(line for line in lines if line.startswith("1  ada"))
    assert "1402.00" in row
    ratings = tmp_path / "initial.json"
    ratings.write_text('{"ada": 1400, "bob": 1000}')
    again = show(tmp_path / "a.jsonl", "sequential=true", f"initial_rating={ratings}", "k=22")
    assert row in again


@pytest.mark.parametrize(
    "arguments, told",
    [
        (
            ["sequential=true", "initial_rating=adda=1"],
            "initial_rating=adda: no such player. Did you mean ada?",
        ),
        (
            ["initial_rating=ada=1"],
            "initial_rating is where the sequential pass begins. Add sequential=true.",
        ),
        (["sequential=true", "initial_rating=ada=x"], "initial_rating=ada=x is no rating. Give"),
        (
            ["sequential=true", "initial_rating=nix.json"],
            "initial_rating=nix.json is no rating. Give",
        ),
        (["reference=eve"], "reference=eve: no such player. There are ada, bob, cy."),
        (["reference=ada"], "reference=ada: no relative verdict is about it."),
        (["matches=0"], "matches=0 must be at least 1."),
        (["seed=-1"], "seed=-1 must be at least 0."),
        (["k=0"], "k=0.0 must be greater than 0."),
        (["start=nan"], "start=nan must be a finite number."),
    ],
)
def test_a_mistake_is_one_line(show, tmp_path, arguments, told):
    lines = show(games.tournament(tmp_path, questions=4), *arguments)
    assert len(lines) == 1
    assert lines[0].startswith(f"anima_exp: {told}")


def test_nothing_left_to_rate_by_is_one_line(show, tmp_path):
    games.write(tmp_path / "a.jsonl", [games.ours(q, "ada", "bob", -1) for q in range(3)])
    said = [
        "anima_exp: All 3 verdicts are dropped, so there is nothing to rate. Count ties or "
        "unparsed verdicts."
    ]
    assert show(tmp_path, "unparsed=drop") == said
    lines = show(tmp_path)
    assert "3 of 3 verdicts could not be parsed. They count as ties." in lines


def test_names_cannot_steer_the_terminal(show, tmp_path):
    bad = "\x1b[2J[red]x\ud800"
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps(games.ours(q, bad, "bob", 1 + q % 2)) + "\n" for q in (1, 2))
    )
    text = "\n".join(show(path))
    assert "\x1b" not in text and "\\x1b[2J[red]x\\ud800" in text
    text = "\n".join(show(path, "reference=eve"))
    assert "\x1b" not in text and "There are " in text


def test_every_format_tells_the_same(show, tmp_path):
    folder = games.tournament(tmp_path / "r", gap=2.0)
    whole = json.loads("\n".join(show(folder, "format=json")))
    elo = {one["player"]: one["mean"] for one in whole["elo"]}
    assert whole["scores"]["ada"]["elo"] == elo["ada"]
    assert set(whole["scores"]["ada"]) == {"elo", "bradley_terry", "win_rate"}
    rows = list(csv.DictReader(io.StringIO("\n".join(show(folder, "format=csv")))))
    assert [row["player"] for row in rows] == ["ada", "bob", "cy"]
    assert float(rows[0]["elo"]) == elo["ada"]
    lines = show(folder, "format=markdown")
    assert lines[-1] == whole["conclusion"]
    assert any(f"{elo['ada']:.1f} ±" in line for line in lines)
    out = tmp_path / "deep" / "out.json"
    show(folder, f"out={out}")
    assert json.loads(out.read_text()) == whole


def test_a_result_that_cannot_be_written_says_so(show, tmp_path):
    folder = games.tournament(tmp_path / "r", questions=4)
    out = tmp_path / "out"
    out.mkdir()
    said = f"anima_exp: Cannot write {out}: it is a folder. Give another out=FILE."
    assert show(folder, f"out={out}")[-1] == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r"]  # no draft is left


def test_scores_of_both_kinds_stand_side_by_side(tmp_path):
    from anima_exp.tournament.options import Options
    from anima_exp.tournament.rate import tournament
    from anima_exp.tournament.reading import read
    from anima_exp.tournament.verdicts import verdicts

    games.tournament(tmp_path / "a", players=("ada", "bob", "chat"), questions=20)
    games.relative(tmp_path / "b")
    rows = read([tmp_path / "a", tmp_path / "b"])
    found = tournament(verdicts(rows, answers={})[0], Options(orders=50, samples=50))
    assert isinstance(found, Tournament)
    by_player = scores(found)
    assert by_player["ada"]["percent_of_reference"] == pytest.approx(88.2, abs=0.1)
    assert "percent_of_reference" not in by_player["chat"]
    assert (
        "The percentages are from 80 relative verdicts, everything else from the 120 other "
        "verdicts." in found.notes
    )


HEAVY = ("torch", "transformers", "datasets", "peft", "hydra", "pandas", "plotly", "wandb")


def test_nothing_heavy_is_imported(tmp_path):
    games.tournament(tmp_path, questions=4)
    probe = f"""
import sys
from anima_exp.elo import main
main([{str(tmp_path)!r}, "permutations=10", "bootstrap_samples=10"])
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert told.stdout.splitlines()[-1] == ""


def test_the_options_of_earlier_versions_still_work(tmp_path, capsys):
    folder = str(games.tournament(tmp_path, questions=4))
    today = ["permutations=10", "bootstrap_samples=10", "on_missing_questions=keep",
             "sequential=true", "initial_rating=ada=1400", "format=json"]  # fmt: skip
    former = ["--orders", "10", "--samples=10", "--different-questions", "keep", "--one-pass",
              "--initial", "ada=1400", "--format", "json"]  # fmt: skip
    results = []
    for arguments in (today, former):
        assert main([folder, *arguments]) == 0
        told = capsys.readouterr()
        results.append(told.out)
    assert results[0] == results[1]
    assert "orders was renamed. Use permutations.\n" in told.err


def test_values_of_earlier_versions_still_work(tmp_path, capsys):
    folder = str(games.tournament(tmp_path, questions=4))
    assert main([folder, "permutations=5", "bootstrap_samples=5",
                 "--different-questions", "common"]) == 0  # fmt: skip
    told = "on_missing_questions=common was renamed. Use on_missing_questions=intersect."
    assert told in capsys.readouterr().err
