"""A model card says what the record says, and nothing of where this disk keeps its files."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from anima_exp.display.tables import escape_markdown
from anima_exp.metrics.intervals import wilson
from anima_exp.model_card import origin
from anima_exp.model_card.card import Chat, Merged, card
from anima_exp.model_card.metadata import read, with_base
from anima_exp.model_card.scores import Measured
from anima_exp.model_card.snippets import chat_question, loading_code
from anima_exp.results import identity
from anima_exp.results.record import Record
from anima_exp.system.paths import shipped

COMMIT = "4782ad278652c7c71b72204d462d6d01eaaf7549"


@pytest.fixture
def record(compose):
    """record("model=llama7b", ...) -> the record of such a run, with invented results."""

    def _record(*overrides, base=f"hub:{COMMIT}", **changes):
        config = compose("evals=[heldout,exact_match,mmlu]", *overrides)
        made = Record(
            name=identity.run_name(config),
            settings=identity.flatten(config),
            scores={"heldout_loss": 1.25, "exact_match": 0.47, "mmlu": 0.351, "mmlu_micro": 0.349},
            scores_before={"heldout_loss": 2.5, "exact_match": 0.155},
            steps=1875,
            tokens=10_123_456,
            rows={
                "rows": 9846, "skipped": 3, "train": 8822, "heldout": 1024,
                "truncated_prompts": 7, "truncated_responses": 1357, "without_labels": 0,
                "train_tokens": 2_973_014, "label_tokens": 2_964_192,
            },
            parameters={"trainable": 159_907_840, "total": 6_898_323_456},
            train_seconds=5025.0,
            eval_seconds=61.0,
            peak_memory_gib=11.375,
            starts=2,
            finished="2026-01-02T03:04:05+00:00",
            data_fingerprint="d" * 64,
            base_fingerprint=base,
            versions={"python": "3.11.7", "torch": "2.13.0"},
            git={"commit": "c" * 40, "dirty": False},
            hardware={"machine": "x86_64", "gpu": "NVIDIA H100", "gpus": "1"},
            wandb="W&B offline; later: wandb sync /home/me/secret",
        )  # fmt: skip
        return replace(made, **changes)

    return _record


def written(record, **changes):
    rows = [
        {"benchmark": "mmlu", "of": "mean", "name": name, "mean": mean, "low": low, "high": high,
         "asked": 1531}
        for name, mean, low, high in (
            ("macro", 0.351, 0.327, 0.375),
            ("micro", 0.349, 0.325, 0.373),
        )
    ]  # fmt: skip
    given = {
        "before": Measured(record.scores_before, []),
        "after": Measured(record.scores, rows),
        "modules": ["k_proj", "q_proj"],
        "begin": "<s>",
        "end": "</s>",
    }
    return card(record, **given | changes)


def cells(text):
    """{name: text} of every two-column row."""
    rows = re.findall(r"^\| ([^|]+) \| (.*) \|$", text, re.MULTILINE)
    return {name: value.replace("\\", "") for name, value in rows}


def test_every_figure_is_the_records(record):
    made = record("model=llama7b", "data=oasst1", "seed=3")
    told = cells(written(made))
    assert told["base"] == "huggyllama/llama-7b"
    assert told["commit"] == COMMIT
    assert told["stored as"] == "nf4, double quantization, computed in bf16"
    assert told["data"] == "timdettmers/openassistant-guanaco, split train"
    assert told["revision"] == "the newest at that time; not pinned"
    assert told["fingerprint"] == f"sha256:{made.data_fingerprint}"
    assert told["rows read"] == "9,846, of which 3 were left out"
    assert told["machine"] == "1 x NVIDIA H100"
    assert told["trained on"] == "8,822 examples of 2,973,014 tokens"
    assert told["set aside"] == "1,024 examples, taken off the rows read, seed 42"
    assert told["truncated"] == "7 prompts at 16 tokens, 1,357 responses at 512"
    assert told["layers"] == "all_linear: k_proj, q_proj"
    assert (told["rank, alpha"], told["dropout"]) == ("64, 16", "0.1")
    assert told["parameters"] == "159,907,840 trained of 6,898,323,456"
    assert told["learning rate"] == "0.0002"
    assert told["steps"] == "1,875, which is 3.4 epochs"
    twice = record("trainer.num_epochs=2", steps=1103)  # of 8,822 rows, the last batch of 12
    assert cells(written(twice))["steps"] == "1,103, which is 2 epochs"
    assert told["seed"] == "3"
    assert told["training"] == "1 h 23 min, 10,123,456 tokens, in 2 starts"
    assert told["peak memory"] == "11.38 GiB"
    assert told["versions"] == "python 3.11.7, torch 2.13.0"


def test_shares_have_their_intervals_and_the_loss_has_none(record):
    made = record("model=llama7b", "data=sample")
    low, high = wilson(94, 200)
    text = written(made)
    assert "| heldout\\_loss | 2.5000 | 1.2500 | 1,000 rows set aside;" in text
    assert f"47.0 % ({100 * low:.1f} to {100 * high:.1f})" in text
    assert (
        "| mmlu | - | 35.1 % (32.7 to 37.5) | 1,531 questions, 5 examples each; mean over s" in text
    )
    assert "| mmlu\\_micro | - | 34.9 % (32.5 to 37.3) | 1,531 questions," in text


def test_the_same_record_gives_the_same_card(record):
    assert written(record("model=llama7b")) == written(record("model=llama7b"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["model=llama7b", "data=alpaca"],
            {
                "base_model": "huggyllama/llama-7b",
                "base_model_relation": "adapter",
                "library_name": "peft",
                "pipeline_tag": "text-generation",
                "license": "other",
                "language": ["en"],
                "datasets": ["tatsu-lab/alpaca"],
                "tags": ["anima-exp", "lora", "qlora"],
            },
        ),
        (
            ["model=qwen3_8b", "lora=full_finetune", "quant=none", "data=longform"],
            {
                "base_model": "Qwen/Qwen3-8B-Base",
                "base_model_relation": "finetune",
                "library_name": "transformers",
                "pipeline_tag": "text-generation",
                "license": "other",
                "datasets": ["akoksal/LongForm"],
                "tags": ["anima-exp"],
            },
        ),
    ],
    ids=["an adapter", "every weight"],
)
def test_the_head_is_what_the_hub_reads(record, overrides, says):
    text = written(record(*overrides))
    head = read(text)
    assert list(head)[-1] == "model-index"
    assert {key: value for key, value in head.items() if key != "model-index"} == says
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    assert data.to_dict() == head


def test_the_hub_gets_the_scores_on_its_own_data(record):
    made = record("model=llama7b", "data=alpaca")
    (index,) = read(written(made))["model-index"]
    heldout, mmlu = index["results"]
    assert index["name"] == made.name
    assert heldout["dataset"]["type"] == "tatsu-lab/alpaca"
    assert heldout["metrics"] == [
        {"type": "loss", "value": 1.25, "name": "heldout_loss"},
        {"type": "exact_match", "value": 0.47, "name": "exact_match"},
    ]
    assert mmlu["dataset"] == {
        "name": "cais/mmlu",
        "type": "cais/mmlu",
        "split": "val",
        "args": {"num_few_shot": 5, "questions": 1531},
    }
    assert [(one["name"], one["value"]) for one in mmlu["metrics"]] == [
        ("mmlu", 0.351),
        ("mmlu_micro", 0.349),
    ]


def test_scores_on_data_that_is_not_on_the_hub_are_not_for_it(record, tmp_path):
    (tmp_path / "mmlu").mkdir()
    made = record("model=tiny", "data=sample", f"evals.mmlu.path={tmp_path}/mmlu", base="sha256:1")
    assert "model-index" not in read(written(made))
    merge = Merged([("adapter", "a")], [], [], "bf16", False)
    assert "model-index" not in read(written(record("model=llama7b"), merge=merge))


def test_only_what_is_made_of_ours_alone_has_a_licence(record):
    tiny = record("model=tiny", "data=sample", base="sha256:1")
    assert read(written(tiny))["license"] == "apache-2.0"
    assert "Apache-2.0, like the base and the data" in written(tiny)
    mixed = written(record("model=tiny", "data=belle_merge", base="sha256:1"))
    assert read(mixed)["license"] == "other"
    assert "data (research only, like BELLE)" in mixed
    assert "check the licence of akoksal/LongForm" in written(record("data=longform"))


def test_licences_are_those_that_conf_names():
    found = {}
    for path in (shipped("conf") / "data").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        licence = re.search(r"Licence: ([\w .-]+?)\.$", text, re.MULTILINE)
        if licence:
            found[yaml.safe_load(text)["source"]] = licence[1]
    assert len(found) >= 6
    for source, licence in found.items():
        assert origin.of_data(source).licence.startswith(licence), source


def test_every_base_of_conf_has_a_licence():
    files = sorted((shipped("conf") / "model").glob("*.yaml"))
    assert len(files) > 30
    for path in files:
        if path.stem != "local":
            source = yaml.safe_load(path.read_text(encoding="utf-8"))["source"]
            assert origin.of_base(source), source


def test_the_prompt_is_the_training_rows_to_the_letter(record):
    from anima_exp.data import recipes

    row = {"instruction": "简单地说：为什么下雨？", "input": "", "output": "云。"}
    made = record(
        "model=llama7b", "data=belle_merge", "data.sample_prompts=['简单地说：为什么下雨？']"
    )
    assert f"```text\n<s>{recipes.alpaca(row).prompt}\n```" in written(made)


def test_a_prompt_is_that_of_the_recipe_not_of_a_template_left_as_it_was(record, tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    local = ["data=local", f"data.path={tmp_path}/rows.jsonl", "trainer.num_epochs=1"]
    text = written(record(*local, "data.recipe=guanaco"))
    assert "```text\n<s>### Human: What is the capital of France?### Assistant: \n```" in text
    own = written(record(*local, "data.recipe=my_package.my_module.rows"))
    assert "written by `my_package.my_module.rows`, which is not part of this" in own


def test_nothing_tells_where_this_disk_keeps_its_files(record, tmp_path):
    (tmp_path / "my base").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}\n")
    made = record(
        "model=local", f"'model.source=\"{tmp_path}/my base\"'".strip("'"), "data=local",
        f"data.path={tmp_path}/rows.jsonl", "trainer.num_epochs=1", f"run_dir={tmp_path}/run",
        base="sha256:abc",
    )  # fmt: skip
    text = written(made)
    assert str(tmp_path) not in text
    assert "/home/me" not in text
    assert cells(text)["base"] == "a local folder named my base (sha256:abc)"
    assert cells(text)["data"] == "a local file named rows.jsonl"
    assert "base_model" not in read(text) and "datasets" not in read(text)
    assert 'base, adapter = "FOLDER_OR_HUB_ID_OF_THE_BASE"' in text


def test_names_that_would_be_markup_are_text(record, tmp_path):
    evil = 'x"""|<script>alert(1)</script>`[a](b)'
    made = record("model=llama7b")
    settings = made.settings | {
        "model.source": evil,
        "data.source": f"{evil}\n---\nlicense: mit",
        "data.recipe": "``` x",
        "evals.samples.prompts": ["```\n<script>alert(2)</script>\n\x1b[31m"],
    }
    text = written(replace(made, name=evil, settings=settings))
    outside = re.sub(r"(?ms)^(`{3,})\w+\n.*?^\1$", "", text.partition("\n---\n")[2])
    assert "<script>" not in outside
    assert "\x1b" not in text
    assert f"# {escape_markdown(evil)}\n" in text
    assert read(text)["base_model"] == evil
    assert read(text)["license"] == "other"
    assert "````text\n<s>### Human: ```\n" in text
    (python,) = re.findall(r"(?ms)^(`{3,})python\n(.*?)^\1$", text)
    compile(python[1], "card", "exec")


@pytest.mark.parametrize(
    "overrides",
    [
        ["quant=nf4"],
        ["quant=int8"],
        ["quant=none"],
        ["lora=full_finetune", "quant=none"],
        ["model.trust_remote_code=true"],
    ],
    ids=lambda words: " ".join(words),
)
def test_the_lines_that_load_it_are_python(record, overrides):
    lines = loading_code(record("model=llama7b", *overrides), 'a "prompt"\n')
    compile(lines, "card", "exec")
    assert ("BitsAndBytesConfig" in lines) == ("quant=none" not in overrides)
    assert ("PeftModel" in lines) == ("lora=full_finetune" not in overrides)
    assert ("trust_remote_code=True" in lines) == (overrides == ["model.trust_remote_code=true"])
    assert (f'revision="{COMMIT}"' in lines) == ("lora=full_finetune" not in overrides)
    assert 'prompt = "a \\"prompt\\"\\n"' in lines


def test_another_base_is_written_into_the_head_alone(record):
    text = written(record("model=tiny", base="sha256:1"))
    changed = with_base(text, "me/base")
    assert read(changed)["base_model"] == "me/base"
    assert read(changed)["base_model_relation"] == "adapter"
    assert changed.split("\n---\n", 1)[1] == text.split("\n---\n", 1)[1]
    assert with_base("no head", "me/base") == "no head"


def test_settings_survive_the_way_through_record_json(record):
    made = record("model=llama7b")
    again = replace(made, settings=json.loads(json.dumps(made.settings)))
    assert written(again) == written(made)


@pytest.mark.parametrize(
    ("hardware", "processes", "told"),
    [
        ({"gpu": "H100", "gpus": "1"}, 4, "4 x H100"),
        ({"gpu": "H100", "gpus": "2"}, 1, "2 x H100"),
        ({"cpu_threads": "1", "machine": "arm64"}, 2, "no GPU: 2 processes of 1 thread, arm64"),
        ({"cpu_threads": "8", "machine": "arm64"}, 1, "no GPU: 8 threads, arm64"),
    ],
)
def test_a_card_tells_how_many_computed(hardware, processes, told):
    from types import SimpleNamespace

    from anima_exp.model_card.facts import _machine

    assert _machine(SimpleNamespace(hardware=hardware, processes=processes)) == told


def test_a_run_on_conversations_is_asked_through_its_chat_template(record):
    made = record("data=local", "data.recipe=messages", "data.path=x.jsonl", "data.template=chatml")
    source = "{% if enable_thinking %}{% endif %}"
    for thinking, option in (("template", ""), ("drop", "enable_thinking=False, ")):
        made.settings["data.thinking"] = thinking
        chat = Chat(chat_question(made.settings, source), "<|im_start|>user\nWhere?<|im_end|>\n")
        text = written(made, chat=chat, end="<|im_end|>")
        assert (
            "In the chat template that is saved with its tokenizer (data.template=`chatml`); an "
            "answer was taught to end in `<|im_end|>`. A question is put as\n\n```text\n"
            "<|im_start|>user\nWhere?<|im_end|>\n" in text
        )
        assert (
            '\nmessages = [{"role": "user", "content": "What is the capital of France?"}]\n'
            "ids = tokenizer.apply_chat_template(\n"
            f"    messages, add_generation_prompt=True, {option}return_dict=True, "
            'return_tensors="pt"\n).to(model.device)\n' in text
        )
        assert "eos_token_id=tokenizer.eos_token_id" in text


def test_without_a_switch_in_the_template_the_code_sets_none(record):
    made = record("data=local", "data.recipe=messages", "data.path=x", "data.thinking=drop")
    assert chat_question(made.settings, "{{ messages }}").options == {}
