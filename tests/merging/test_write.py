"""A merged folder tells strangers what it is, and nothing of where this disk keeps its files."""

import json
import re
import shutil

import pytest
from support.hub_server import publish, serving

from anima_exp.merging import write
from anima_exp.model_card.metadata import read
from anima_exp.model_card.snippets import THIS

TEXTS = (".json", ".md", ".jinja")


@pytest.fixture(scope="session")
def local(compose, tmp_path_factory):
    """A run of a base and of data that lie in folders of this machine."""
    from anima_exp.experiment.run import run
    from anima_exp.system.paths import tiny_base
    from anima_exp.tiny.world import sample_rows

    home = tmp_path_factory.mktemp("home of mine")
    base = shutil.copytree(tiny_base(), home / "my-base")
    config = json.loads((base / "config.json").read_text())
    named = config | {"_name_or_path": str(base)}  # as older transformers wrote it
    (base / "config.json").write_text(json.dumps(named))
    rows = sample_rows(80, language="zh", seed=1, part="train")
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(
        compose(
            "model=local", f"model.source='{home}/my-base'", "data=local",
            f"data.path='{home}/rows.jsonl'", "data.recipe=guanaco", "data.heldout_rows=16",
            "trainer.max_steps=2", "trainer.precision=fp32", "trainer.eval_every=null",
            "optimizer.learning_rate=1e-3", "evals=[]", "tracking=none", f"run_dir='{home}/run'",
        )
    )  # fmt: skip
    return home


def texts(folder):
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.iterdir()
        if path.suffix in TEXTS
    }


def test_a_merged_run_has_a_card_with_its_proof_and_lines_that_load_it(
    runs, merge, tmp_path, capsys
):
    out = tmp_path / "merged"
    merge(f"run={runs[0]}", f"out={out}", "target=dequantized")
    card = (out / "README.md").read_text(encoding="utf-8")
    head = read(card)
    assert (head["library_name"], head["license"]) == ("transformers", "apache-2.0")
    assert head["tags"] == ["anima-exp", "qlora"]
    said = json.loads((out / "merge.json").read_text())
    assert said["adapter"]["weights"] in card and said["base"]["fingerprint"] in card
    assert "| target | the weights it was trained on: quantized to 4 bits and dequantized |" in card
    proof = said["proof"]
    for row in ("base", "trained", "merged", "again"):
        assert f"| {proof[row]['loss']:.4f} |" in card
    assert f"Measured on {proof['labels']:,} response tokens of the Chinese half" in card
    assert "may have been trained on" not in card
    assert "## Scores before the merge" in card and "| seed | 0 |" in card
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```$", card)
    assert "peft" not in code
    capsys.readouterr()
    exec(code.replace(THIS, str(out)), {})  # what a reader would paste
    assert capsys.readouterr().out.strip()


def test_without_a_run_the_card_says_what_is_not_known(runs, merge, tmp_path):
    out = tmp_path / "merged"
    merge(f"adapter={runs[0]}/adapter", f"out={out}", "verify=false")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert read(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "other",
        "tags": ["anima-exp"],
    }
    assert "The merged model has not been compared with the trained one" in card
    assert "## Data, scores, training\n\nNot known here." in card
    compile(re.findall(r"(?ms)^```python\n(.*?)^```$", card)[0], "card", "exec")


def test_a_base_of_the_hub_is_what_it_was_fine_tuned_from():
    from anima_exp.model_card.card import Merged, merged_card

    merge = Merged([("adapter", "x")], (), ["Unproved."], "bf16", remote_code=True)
    text = merged_card("x", {"model.source": "me/base", "model.revision": "v1"}, "hub:abc", merge)
    assert read(text)["base_model"] == "me/base"
    assert read(text)["base_model_relation"] == "finetune"
    assert "| requested revision | v1 |" in text and "| commit | abc |" in text
    assert "dtype=torch.bfloat16, trust_remote_code=True" in text


@pytest.mark.parametrize("way", ["run={}", "adapter={}/adapter"])
def test_nothing_tells_where_base_data_and_run_lie(way, local, merge, tmp_path):
    out = tmp_path / "merged"
    merge(way.format(local / "run").replace("=", "='") + "'", f"out={out}", "max_divergence=9")
    found = texts(out)
    assert {"README.md", "merge.json", "config.json", "tokenizer_config.json"} <= set(found)
    for name, text in found.items():
        assert "home of mine" not in text and str(tmp_path) not in text, name
    said = json.loads(found["merge.json"])
    assert said["base"]["source"] == said["settings"]["model.source"] == "my-base"
    assert said["settings"]["data.path"] == "rows.jsonl"
    assert "a local folder named my-base (sha256:" in found["README.md"]


def test_a_merged_folder_is_published_as_it_is(local, merge, tmp_path):
    out = tmp_path / "merged"
    merge(f"run='{local}/run'", f"out={out}", "verify=false")
    status, said, err = publish(f"folder={out}", "push=me/name")
    assert (status, err) == (0, "")
    assert "Nothing was uploaded." in said
    with serving() as hub:
        words = (f"folder={out}", "push=me/name", "base=me/base", "confirm=true")
        status, _, err = publish(*words, url=hub.url)
        assert (status, err) == (0, "")
        sent = hub.repositories["me/name"]["files"]
    assert set(sent) == {path.name for path in out.iterdir()}
    head = read(sent["README.md"].decode())
    assert (head["base_model"], head["base_model_relation"]) == ("me/base", "finetune")
    assert b'model_id = "me/name"' in sent["README.md"]


def test_a_card_that_cannot_be_written_leaves_no_folder(runs, merge, tmp_path, monkeypatch):
    monkeypatch.setattr(write.of_run, "of_folder", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}", "verify=false")
    assert list(tmp_path.iterdir()) == []


def test_a_merged_model_is_asked_in_the_adapters_chat_template(runs, merge, tmp_path, capsys):
    from transformers import AutoTokenizer

    from anima_exp.data.chat.templates import ChatTemplate, use_template

    talk = ChatTemplate(
        "talk",
        "{{ bos_token }}{% for m in messages %}### {{ m.role }}: {{ m.content }}"
        "{% if m.role == 'assistant' %}<pad>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}### Assistant: {% endif %}",
    )
    run, out = shutil.copytree(runs[0], tmp_path / "run"), tmp_path / "merged"
    tokenizer = AutoTokenizer.from_pretrained(run / "adapter")
    use_template(tokenizer, talk, [tokenizer.convert_tokens_to_ids("<pad>")])
    tokenizer.save_pretrained(run / "adapter")
    record = json.loads((run / "record.json").read_text())
    chat = {"data.recipe": "messages", "data.prompt_template": "chat", "data.thinking": "drop"}
    record["settings"] |= chat
    (run / "record.json").write_text(json.dumps(record))

    merge(f"run={run}", f"out={out}", "verify=false")
    saved = AutoTokenizer.from_pretrained(out)
    assert (saved.chat_template, saved.eos_token) == (talk.source, "<pad>")
    ends = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [saved.eos_token_id, saved.convert_tokens_to_ids("</s>")]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "In the chat template that is saved with its tokenizer; an answer was taught to" in card
    (text,) = re.findall(r"(?ms)^```text\n(.*?)^```$", card)
    assert text.startswith("<s>### user: ")
    assert text.endswith("### Assistant: \n")
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```$", card)
    assert "tokenizer.apply_chat_template(" in code
    capsys.readouterr()
    exec(code.replace(THIS, str(out)), {})  # what a reader would paste
    assert capsys.readouterr().out.strip()
