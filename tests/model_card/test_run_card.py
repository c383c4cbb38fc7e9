"""The card that a real run leaves beside what it trained."""

import json
import re

import pytest

from anima_exp.display.console import number
from anima_exp.experiment.run import run
from anima_exp.model_card.card import of_folder
from anima_exp.model_card.metadata import read
from anima_exp.model_card.snippets import THE_BASE, THIS
from anima_exp.results.record import Record
from anima_exp.system.paths import tiny_base

FEW = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=2", "trainer.eval_every=null",
    "tracking=none", "evals=[heldout,exact_match,choices]", "evals.choices.max_questions=2",
    "evals.exact_match.max_new_tokens=4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "made"),
    [
        ((), "adapter"),
        (("lora=full_finetune", "quant=none", "optimizer.learning_rate=1e-4"), "model"),
    ],
    ids=["an adapter", "every weight"],
)
def test_a_run_leaves_a_card_with_its_figures_and_lines_that_load_it(
    compose, tmp_path, capsys, overrides, made
):
    folder = tmp_path / "run"
    run(compose(f"run_dir={folder}", *FEW, *overrides))
    text = (folder / made / "README.md").read_text(encoding="utf-8")
    record = Record.load(folder)
    for scores in (record.scores_before, record.scores):
        for name, value in scores.items():
            assert number(name, value) in text
    rows = (folder / "accuracies.jsonl").read_text().splitlines()
    (macro,) = [r for r in map(json.loads, rows) if r["step"] == 2 and r["name"] == "macro"]
    ends = f"({100 * macro['low']:.1f} to {100 * macro['high']:.1f})"
    assert f"{number('choices', macro['mean'])} {ends}" in text
    assert record.base_fingerprint in text and record.data_fingerprint in text
    assert read(text)["library_name"] == {"adapter": "peft", "model": "transformers"}[made]
    assert str(tmp_path) not in text and str(tiny_base()) not in text

    assert of_folder(folder, folder / made) == text  # for a run that has no card of ours

    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```$", text)
    code = code.replace(THE_BASE, str(tiny_base())).replace(THIS, str(folder / made))
    capsys.readouterr()
    exec(code, {})  # what a reader would paste
    assert capsys.readouterr().out.strip()
