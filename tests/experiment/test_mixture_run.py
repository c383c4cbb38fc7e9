"""A run on a mixture, from end to end: overview, scores of each part, record, card, and again."""

import json

import pytest

from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.comparison.verdict import comparability_warning
from anima_exp.config import EvaluateConfig, UseConfig
from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import ConfigError, DataError
from anima_exp.evals import report, score_names
from anima_exp.evals.heldout_check import check_heldout
from anima_exp.events import listening
from anima_exp.experiment.run import run
from anima_exp.metrics.metric import metric
from anima_exp.model_card import origin
from anima_exp.planner.lengths import lengths, read_lengths
from anima_exp.results import identity
from anima_exp.results.record import Record

SETTINGS = (
    "data=mixture", "data.heldout_rows=6", "data.max_tokens=32", "tracking=none",
    "data.parts.tasks.source=sample", "data.parts.tasks.recipe=guanaco",
    "data.parts.tasks.max_rows=60", "data.parts.tasks.weight=2",
    "data.parts.talk.recipe=messages", "data.parts.talk.weight=1",
    "data.parts.docs.recipe=text", "data.parts.docs.weight=1",
    "trainer.max_steps=2", "trainer.batch_size=4", "trainer.eval_every=2", "evals=[heldout]",
    "trainer.keep_best=heldout_loss_talk",
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    talk = [
        [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": str(n)}]
        for n in range(20)
    ]
    rows = {"talk": [{"messages": one} for one in talk],
            "docs": [{"text": "abcdefgh " * n} for n in range(1, 15)]}  # fmt: skip
    for name, each in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in each))
    return [f"data.parts.{name}.path={folder}/{name}.jsonl" for name in rows]


@pytest.fixture(scope="module")
def finished(compose, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    said = []

    class View(TerminalView):
        def __call__(self, event):
            said.append(event)

    with listening(View()):
        record = run(compose(*SETTINGS, *files, f"run_dir={folder}"))
    return record, said


def test_the_overview_shows_each_part_before_the_first_step(finished):
    _, said = finished
    plan = next(event for event in said if type(event).__name__ == "Plan")
    parts = [plan.lines[f"part {name}"] for name in ("docs", "talk", "tasks")]
    assert "each of 54 rows once" in parts[2]
    assert "25.0% of the rows" in parts[1]
    assert plan.lines["documents"].startswith("docs: 14 in ")


def test_each_part_has_a_loss_and_all_together(finished):
    record, _ = finished
    for scores in (record.scores, record.scores_before):
        parts = {name: scores.pop(f"heldout_loss_{name}") for name in ("docs", "talk", "tasks")}
        assert [*scores] == ["heldout_loss"]
        assert min(parts.values()) < scores["heldout_loss"] < max(parts.values())
        scores |= {f"heldout_loss_{name}": loss for name, loss in parts.items()}


def test_the_record_keeps_what_was_used_of_each_part(finished):
    record, _ = finished
    kept = Record.load(record.folder).parts
    assert [(name, one["recipe"], one["rows"]) for name, one in kept.items()] == [
        ("docs", "text", 27), ("talk", "messages", 27), ("tasks", "guanaco", 54),
    ]  # fmt: skip
    assert sum(one["tokens"] for one in kept.values()) == record.rows["train_tokens"]
    assert record.best["metric"] == "heldout_loss_talk"


def test_the_card_shows_each_part_without_places_of_this_machine(finished):
    record, _ = finished
    card = (record.folder / "adapter" / "README.md").read_text()
    assert "docs: a local file named docs.jsonl" in card
    assert "each of 54 rows once" in card
    assert "rows of the part talk that are set aside" in card
    assert str(record.folder.parent.parent) not in card
    public = origin.without_places(record.settings)
    assert public["data.parts.docs.path"] == "docs.jsonl"


def test_the_tokenizer_keeps_the_template_of_the_conversations(finished):
    record, _ = finished
    assert record.settings["data.prompt_template"] == "chat"
    assert record.chat["template"] == "tiny"
    assert (record.folder / "adapter" / "chat_template.jinja").is_file()


def test_measured_again_each_part_scores_the_same(finished, compose):
    record, _ = finished
    given = expand_run_argument([f"run={record.folder}"])
    config = compose(*(one for one in given if not one.startswith("run=")), "evals=[heldout]")
    again = report.run(EvaluateConfig(**vars(config), run=str(record.folder)))
    assert again == pytest.approx(record.scores, abs=1e-4)


def test_more_held_out_rows_of_a_part_are_refused(finished, compose, files):
    record, _ = finished

    def check(*more):
        config = compose(*SETTINGS, *files, *more)
        check_heldout(UseConfig(**vars(config), run=str(record.folder)))

    check()
    check("data.parts.docs.heldout_rows=4", "data.parts.talk.weight=9")
    with pytest.raises(DataError, match=r"^data\.parts\.docs\.heldout_rows=7 would hold out rows"):
        check("data.parts.docs.heldout_rows=7")


def test_a_part_alone_is_known_as_data_of_the_run(finished, compose, files):
    record, _ = finished
    path = files[1].partition("=")[2]
    config = compose("data=local", f"data.path={path}", "data.recipe=text", "data.heldout_rows=9")
    with pytest.raises(DataError, match=r"^data\.heldout_rows=9 would hold out rows"):
        check_heldout(UseConfig(**vars(config), run=str(record.folder)))


def test_a_record_gives_the_config_of_its_run(finished):
    record, _ = finished
    config = record.config
    assert identity.identity_settings(config)["data.parts.tasks.weight"] == 2.0
    assert identity.run_name(config) == record.name


def test_the_plan_counts_the_rows_of_a_mixture_of_files(compose, files):
    config = compose(
        "data=mixture", files[1], "data.parts.docs.recipe=text", "data.max_tokens=32",
        f"data.parts.again.path={files[1].partition('=')[2]}", "data.parts.again.recipe=text",
        "data.heldout_rows=0", "evals=[]", "data.parts.again.max_tokens=64",
        "data.parts.docs.weight=1", "data.parts.again.weight=1",
    )  # fmt: skip
    from anima_exp.data.dataset import prepare
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.system import paths

    planned = read_lengths(config)
    counts = prepare(config.data, load_tokenizer(config.model), cache=paths.cache()).counts
    assert planned.rows == counts.train
    assert planned.mean_tokens * planned.rows == pytest.approx(counts.train_tokens, rel=0.1)
    assert lengths(config).largest.longest == 64


def test_the_plan_of_unknown_parts_knows_a_total_of_rows(compose):
    parts = ("data=mixture", "data.parts.a.source=a/b", "data.max_rows=7")
    assert lengths(compose(*parts)).rows is None
    assert lengths(compose(*parts, "data.mix_total=50")).rows == 50
    assert lengths(compose(*parts, "data.mix_total=50", "data.mix_by=tokens")).rows is None


def test_names_depend_on_what_is_in_a_part_and_not_on_where_it_is(compose, tmp_path):
    name = {}
    for place, text in (("a", "one"), ("b", "one"), ("c", "two")):
        file = tmp_path / f"{place}.jsonl"
        file.write_text(json.dumps({"text": text}))
        parts = ("data=mixture", f"data.parts.x.path={file}", "data.parts.x.recipe=text")
        name[place] = identity.run_name(compose(*parts))
        weighted = identity.run_name(compose(*parts, "data.parts.x.weight=2"))
        assert weighted != name[place]
    assert name["a"] == name["b"] != name["c"]


def test_a_part_without_held_out_rows_has_no_score(compose, files):
    config = compose(*SETTINGS, *files, "data.parts.docs.heldout_rows=0")
    found = score_names.scores(config)
    assert found == {"heldout_loss", "heldout_loss_talk", "heldout_loss_tasks"}
    config.trainer.keep_best = "heldout_loss_docs"
    with pytest.raises(ConfigError, match=r"^trainer\.keep_best=heldout_loss_docs is not a score"):
        score_names.check_keep_best(config)


def test_the_loss_of_a_part_is_a_loss():
    one = metric("heldout_loss_talk")
    assert one.minimize
    assert one.number(1.5) == "1.5000"
    settings = {"data.parts.talk.path": "x", "evals.heldout.max_rows": 1000}
    assert score_names.group("heldout_loss_talk", settings) == "evals.heldout"


def test_runs_with_other_held_out_rows_of_a_part_are_not_compared(finished):
    class One:
        def __init__(self, settings):
            self.settings, self.record = settings, None

    record, _ = finished
    other = {**record.settings, "data.parts.docs.heldout_rows": 2}
    heavier = {**record.settings, "data.parts.docs.weight": 9}
    told = comparability_warning([One(record.settings), One(other)], metric("heldout_loss_docs"))
    assert "data.parts.docs.heldout_rows" in told
    same = [One(record.settings), One(heavier)]
    assert comparability_warning(same, metric("heldout_loss")) is None
