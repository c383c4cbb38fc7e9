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


def chat_run(folder, template, **settings):
    """A run on conversations, in a template of this hash."""
    synthetic.run(folder, **settings)
    record = folder / "record.json"
    kept = {**json.loads(record.read_text()), "chat": {"template_hash": template}}
    record.write_text(json.dumps(kept))


def test_conversations_compare_if_they_are_put_in_the_same_way(tmp_path):
    """Their rows have one limit, so those of prompts and responses do not matter."""
    chat_run(tmp_path / "a", "t1", **{"data.max_prompt_tokens": 8, "data.template": "a.jinja"})
    chat_run(tmp_path / "b", "t1", **{"data.max_prompt_tokens": 9, "data.template": "b.jinja"})
    assert build(load([tmp_path])).caution is None


def test_conversations_that_are_put_otherwise_are_cautioned_against(tmp_path):
    chat_run(tmp_path / "a", "t1", **{"data.max_tokens": 8, "data.thinking": "keep"})
    chat_run(tmp_path / "b", "t2", **{"data.max_tokens": 9, "data.thinking": "drop"})
    caution = build(load([tmp_path])).caution
    assert "They differ in data.thinking, data.max_tokens, data.template. Compare" in caution


def test_the_limit_of_conversations_does_not_matter_to_other_rows(tmp_path):
    synthetic.run(tmp_path / "a", **{"data.max_tokens": 8})
    synthetic.run(tmp_path / "b", **{"data.max_tokens": 9})
    assert build(load([tmp_path])).caution is None


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


def test_forgetting_of_another_text_is_cautioned_against(tmp_path):
    for name, path in (("a", "news.txt"), ("b", "poems.txt")):
        synthetic.run(
            tmp_path / name,
            scores={"heldout_loss": 0.5, "neutral_loss": 2.0, "forgetting": 0.1},
            **{"evals.forgetting.path": path, "evals.forgetting.batch_tokens": len(path)},
        )
    runs = load([tmp_path])
    assert build(runs, metric="heldout_loss").caution is None
    assert build(runs, metric="forgetting").caution == (
        "Caution: forgetting was not measured on the same text in all runs. They differ in "
        "evals.forgetting.path. Compare runs that share them, with filter=."
    )
