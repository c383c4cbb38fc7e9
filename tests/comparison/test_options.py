"""Every option of the command in every output: it does what it says, or is refused in one line."""

import csv
import io
import json
import re

import pytest
from support import synthetic

from anima_exp.compare import main
from anima_exp.comparison import wandb_report
from anima_exp.results.record import Record

OUTPUTS = ("table", "markdown", "latex", "csv", "json", "html", "wandb")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two ranks by two layer sets, one seed each; rank=64 is better, and its answers are worse."""
    folder = tmp_path_factory.mktemp("options")
    for place, (rank, layers) in enumerate(
        [(8, "all_linear"), (64, "all_linear"), (8, "attention"), (64, "attention")]
    ):
        run = synthetic.run(
            folder / "runs" / f"run{place}",
            scores={"heldout_loss": 1.0 - 0.1 * place, "exact_match": 0.4 - 0.1 * (rank == 64)},
            **{"lora.rank": rank, "lora.target_modules": layers},
        )
        record = Record.load(run)
        wandb = "W&B: https://wandb.ai/me/p/runs/1"
        Record(**{**vars(record), "wandb": wandb, "train_seconds": 100.0 - place}).save(run)
    ratings = {f"run{place}": {"elo": 1000.0 + place} for place in range(4)}
    (folder / "scores.json").write_text(json.dumps({"scores": ratings}))
    return folder


@pytest.fixture
def output(runs, tmp_path, capsys, monkeypatch):
    """output("latex", "--top", 1) -> (exit status, what was written, what stderr says)."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("anima_exp.results.trackers.wandb_account.has_key", lambda: True)
    saved = []

    def save(comparison, **_):
        made = wandb_report.workspace(comparison, entity="me", project="p")
        spec = made._to_model().spec.model_dump(by_alias=True, exclude_none=True)
        sections = spec["section"]["panelBankConfig"]["sections"]
        saved.append(sections[0]["panels"][0]["config"]["value"])
        return "address"

    monkeypatch.setattr(wandb_report, "_save", save)

    def run(kind, *options):
        if kind == "wandb":
            pytest.importorskip("wandb_workspaces")
        page = tmp_path / "page.html"
        how = {"html": [f"html={page}"], "wandb": ["wandb=true"]}.get(kind, [f"format={kind}"])
        status = main([str(word) for word in [runs / "runs", *how, *options]])
        told = capsys.readouterr()
        if status:
            return status, told.out, told.err
        text = {"html": page.read_text, "wandb": saved.pop}.get(kind, lambda: told.out)()
        return status, text, told.err

    return run


def ranks(kind, text):
    """The ranks of the leaderboard's rows, from the first row to the last."""
    if kind == "json":
        return [row["rank"] for row in json.loads(text)["leaderboard"]]
    if kind == "csv":
        return [int(row["rank"]) for row in csv.DictReader(io.StringIO(text))]
    found = {
        "table": r"^(\d)  +\w+ ",
        "markdown": r"^\| (\d) \|",
        "wandb": r"^\| (\d) \|",
        "latex": r"^(?:\\textbf\{)?(\d)\}? & ",
        "html": r'<th scope="row" data-key="(\d)">',
    }
    return [int(rank) for rank in re.findall(found[kind], text, flags=re.MULTILINE)]


@pytest.mark.parametrize("kind", OUTPUTS)
def test_all_rows_best_first(output, kind):
    status, text, _ = output(kind)
    assert (status, ranks(kind, text)) == (0, [1, 2, 3, 4])


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize(
    "options, expected",
    [
        (["metric=exact_match"], [1, 1, 3, 3]),
        (["sort=rank"], [2, 4, 1, 3]),
        (["sort=exact_match"], [2, 4, 1, 3]),
        (["sort=time"], [1, 2, 3, 4]),
        (["filter=rank=8"], [1, 2]),
        (["filter=lora=attention"], [1, 2]),
        (["best_per=rank"], [1, 2]),
        (["best_per=lora"], [1, 3]),
        (["top=3"], [1, 2, 3]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_rows_are_chosen_and_sorted(output, kind, options, expected):
    status, text, _ = output(kind, *options)
    assert (status, ranks(kind, text)) == (0, expected)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("option", [["top=1"], ["best_per=rank"]], ids=" ".join)
def test_what_was_left_out_is_said(output, kind, option):
    _, text, err = output(kind, *option)
    said = f"{text}{err}".replace("\\", "")
    assert (
        "3 more below" in said
        or "2 that are not the best of their rank" in said
        or ("2 left out, because they are not the best of their rank" in said)
    )


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize(
    "baseline, label", [("lora=all_linear", "lora.target_modules=all_linear"), ("run0", "run0")]
)
def test_a_baseline_is_in_the_output_or_refused(output, kind, baseline, label):
    status, text, err = output(kind, f"baseline={baseline}")
    if kind == "csv":
        assert (status, text) == (1, "")
        assert err == (
            "anima_exp: baseline has a table of its own, and format=csv holds one table only. "
            "Use format=json, markdown or latex.\n"
        )
        return
    assert status == 0
    plain = text.replace("\\", "")
    assert (label if "=" in baseline else "target_modules=all_linear rank=8") in plain
    assert "-0.2000" in plain or "-0.19999" in plain  # attention against all_linear at each rank


@pytest.mark.parametrize("kind", OUTPUTS)
def test_ratings_are_a_column(output, runs, kind):
    status, text, _ = output(kind, f"ratings={runs / 'scores.json'}")
    assert status == 0
    assert "elo" in text and "1003" in text


def test_a_rating_cannot_lead_where_wandb_does_not_have_it(output, runs):
    status, _, err = output("wandb", f"ratings={runs / 'scores.json'}", "metric=elo")
    assert status == 1
    assert err == (
        "anima_exp: wandb=true: elo was measured after training, so the runs in W&B do not have "
        "it. "
        "Give metric=NAME, one of: exact_match, heldout_loss; or use html=FILE.\n"
    )


@pytest.mark.parametrize("top", ["0", "-3"])
def test_no_row_at_all_is_refused(output, top):
    assert output("table", f"top={top}")[2] == (f"anima_exp: top={top} must be at least 1.\n")


@pytest.mark.parametrize(
    "baseline, told",
    [
        ("lora=ffn", "the runs have lora.target_modules = all_linear, attention."),
        ("quant=nf4", "all runs have it, so there is nothing to compare it with. "
                      "They differ in lora.target_modules, lora.rank."),
        ("rank>=8", "a baseline is one value. Write SETTING=VALUE."),
    ],
)  # fmt: skip
def test_a_baseline_that_is_none_is_one_line(output, baseline, told):
    _, text, err = output("table", f"baseline={baseline}")
    expected = f"anima_exp: baseline={baseline}: {told}\n"
    assert sorted(err.replace(",", "").split()) == sorted(expected.replace(",", "").split())
    assert text == ""


@pytest.mark.parametrize(
    "head, first",
    [("#", 1), ("rank", 2), ("target_modules", 3), ("heldout_loss", 1), ("exact_match", 2),
     ("tokens", 1), ("time", 1), ("GiB", 1)],
)  # fmt: skip
def test_the_word_at_the_head_of_a_column_sorts_by_it(output, head, first):
    status, text, _ = output("table", f"sort={head}")
    assert head in text.splitlines()[2].split()
    assert (status, ranks("table", text)[0]) == (0, first)


def test_a_click_sorts_by_what_the_head_says(output):
    """Each cell of the page's table has a key that orders as its column is read."""
    page = output("html")[1]
    table = re.search(r'<table id="leaderboard-table">.*?</table>', page, flags=re.DOTALL)[0]
    heads = re.findall(r'<th scope="col"[^>]*>(?:<button[^>]*>)?(.*?)(?:</button>)?</th>', table)
    rows = [
        re.findall(r"<t[hd][^>]*?(?: data-key=\"(.*?)\")?>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table.split("<tbody>")[1], flags=re.DOTALL)
    ]
    columns = dict(zip(heads, zip(*rows, strict=True), strict=True))
    assert [float(key) for key, _ in columns["heldout_loss"]] == pytest.approx([0.7, 0.8, 0.9, 1.0])
    by_rank = sorted(columns["rank"], key=lambda cell: float(cell[0]))
    assert [text for _, text in by_rank] == ["8", "8", "64", "64"]
    assert [float(key) for key, _ in columns["exact_match"]] == pytest.approx([0.3, 0.4, 0.3, 0.4])
    assert [float(key) for key, _ in columns["Time"]] == pytest.approx([97, 98, 99, 100])


def test_a_setting_that_goes_with_a_column_may_be_the_baseline(tmp_path, capsys):
    for name, loss in (("llama7b", 0.9), ("llama13b", 0.8)):
        settings = {"model.name": name, "model.source": f"x/{name}"}
        synthetic.run(tmp_path / name, loss=loss, **settings)
    assert main([str(tmp_path), "baseline=model.source=x/llama7b"]) == 0
    out = capsys.readouterr().out
    assert "against model.name=llama7b" in out
    assert re.search(r"model\.name=llama13b +-0\.1000", out)


@pytest.mark.parametrize(
    ("former", "today"),
    [
        (["--metric", "exact_match"], ["metric=exact_match"]),
        (
            ["--filter", "rank>=8", "--filter", "lora=attention"],
            ["filter=[rank>=8,lora=attention]"],
        ),
        (["--best-per=rank", "--top", "1"], ["best_per=rank", "top=1"]),
        (["--sort", "time"], ["sort=time"]),
    ],
)
def test_the_options_of_earlier_versions_still_work(output, former, today):
    status, text, err = output("csv", *former)
    assert (status, text, err) == output("csv", *today)
    assert status == 0
