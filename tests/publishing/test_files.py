"""Nothing is sent that is not whole, not a model's, or not for strangers to read."""

import json
import os
import re

import pytest
from support.model_folders import CARD, adapter, model, weights

from anima_exp.errors import ConfigError
from anima_exp.model_card.metadata import read as read_head
from anima_exp.publishing import secrets
from anima_exp.publishing.files import read, with_card
from anima_exp.publishing.sanitize import _local_path, head, sanitize

SECRET = "0123456789abcdef0123456789abcdef01234567"


def refused(folder, **how):
    with pytest.raises(ConfigError) as caught:
        head(sanitize(read(folder), **{"push": "me/name", "base": None} | how))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_adapter_and_a_model_in_shards_are_whole(tmp_path):
    assert [file.name for file in read(adapter(tmp_path / "a"))] == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
    ]
    assert len(read(model(tmp_path / "m"))) == 4


@pytest.mark.parametrize(
    ("make", "gone", "says"),
    [
        (adapter, "adapter_model.safetensors", "is incomplete: adapter_model.safetensors is miss"),
        (adapter, "adapter_config.json", "holds neither an adapter (adapter_config.json) nor"),
        (model, "model-00002-of-00002.safetensors", "is incomplete: model-00002-of-00002"),
        (model, "model.safetensors.index.json", "is incomplete: model.safetensors is missing"),
        (model, "config.json", "holds neither an adapter"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(tmp_path, make, gone, says):
    folder = make(tmp_path / "folder")
    (folder / gone).unlink()
    assert says in refused(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("training_args.bin", "(.bin, .pt, .pkl) can run code"),
        ("optimizer.pt", "cannot be uploaded"),
        (".env", "is a hidden file"),
        ("old.safetensors", "is not part of its model"),
    ],
)
def test_what_is_no_part_of_a_model_is_refused(tmp_path, name, says):
    folder = adapter(tmp_path / "folder")
    weights(folder / name)
    assert says in refused(folder)


def test_links_and_folders_inside_are_refused(tmp_path):
    folder = adapter(tmp_path / "a")
    (tmp_path / "private.txt").write_text("mine")
    (folder / "notes.txt").symlink_to(tmp_path / "private.txt")
    assert "is a link" in refused(folder)
    folder = adapter(tmp_path / "b")
    (folder / "checkpoint-2").mkdir()
    assert "is not a file" in refused(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, -1], ids=lambda kept: f"{kept} bytes")
def test_weights_cut_short_are_refused(tmp_path, kept):
    folder = adapter(tmp_path / "folder")
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "is damaged or truncated" in refused(folder)


def test_a_pickle_in_the_clothes_of_safetensors_is_refused(tmp_path):
    folder = adapter(tmp_path / "folder")
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04\x95" + bytes(2000))
    assert "is damaged" in refused(folder)


@pytest.mark.parametrize(
    "base", ["/home/me/models/llama", "models/llama", "~/llama", "./llama", "", None, "C:\\m"]
)
def test_an_adapter_of_a_local_base_needs_its_name_on_the_hub(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "llama").mkdir(parents=True)
    folder = adapter(tmp_path / "folder", base=base)
    before = (folder / "adapter_config.json").read_text()
    assert "Give base=HUB_ID" in refused(folder)
    files = {f.name: f for f in sanitize(read(folder), push="me/name", base="me/base")}
    assert json.loads(files["adapter_config.json"].text)["base_model_name_or_path"] == "me/base"
    assert read_head(files["README.md"].text)["base_model"] == "me/base"
    assert '"me/base", "me/name"' in files["README.md"].text
    assert (folder / "adapter_config.json").read_text() == before
    assert (folder / "README.md").read_text() == CARD


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 12,
        f"wandb login {SECRET}",
        f'"api_key": "{SECRET}"',
        "sk-proj-" + "a" * 30,
        "ghp_" + "a" * 36,
        "AKIA" + "A" * 16,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "http://me:secret@host/",
    ],
)
@pytest.mark.parametrize("name", ["README.md", "notes.txt", "tokenizer.json"])
def test_a_secret_is_refused_and_not_repeated(tmp_path, secret, name):
    folder = adapter(tmp_path / "folder")
    (folder / name).write_text(f"{{}}\n{secret}\n")
    told = refused(folder)
    assert name in told and secret not in told and SECRET not in told


def test_a_secret_of_the_environment_is_known_by_its_value(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "correct-horse-battery")
    folder = adapter(tmp_path / "folder")
    (folder / "notes.txt").write_text("correct-horse-battery")
    assert "a secret of this machine's environment" in refused(folder)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert "false" not in secrets.of_this_machine()


def test_a_commit_or_a_long_word_is_no_secret():
    assert secrets.kind_of_secret("multi-task-fine-tuning-of-large-language-models") is None
    assert secrets.kind_of_secret(f'"revision": "{SECRET}", "sha256:{SECRET}"') is None


@pytest.mark.parametrize("path", ["/home/me/data.jsonl", "/tmp/x/y", "~/data", "C:\\Users\\me"])
def test_a_place_on_this_machine_is_refused(tmp_path, path):
    folder = adapter(tmp_path / "folder")
    (folder / "README.md").write_text(f"trained on {path}")
    assert f"names a path of this machine, {path[:8]}" in refused(folder)


def test_this_very_folder_is_known_wherever_it_lies(tmp_path, monkeypatch):
    folder = adapter(tmp_path / "folder")
    monkeypatch.chdir(os.sep)
    (folder / "notes.txt").write_text(f"see {folder}")
    assert str(tmp_path) in refused(folder)


def test_an_address_is_no_place_on_this_machine():
    here = {"/app", "/data"}
    assert _local_path("https://hf.co/apple/x and hf.co/data/x, read/write, 1/2", here) is None
    assert _local_path("from /app/run", here) == "/app"


def test_pefts_empty_form_is_no_card(tmp_path):
    folder = adapter(tmp_path / "folder")
    (folder / "README.md").write_text("**License:** [More Information Needed]")
    assert "is PEFT's empty template" in refused(folder)
    for before in read(folder), [file for file in read(folder) if file.name != "README.md"]:
        assert with_card(before, lambda: "# ours")[0].text == "# ours"
    (folder / "README.md").write_text("# mine")
    assert with_card(read(folder), lambda: "# ours")[0].text == "# mine"


def test_a_head_that_is_no_yaml_is_refused(tmp_path):
    folder = adapter(tmp_path / "folder")
    (folder / "README.md").write_text("---\na: [\n---\n")
    assert "is not valid YAML" in refused(folder)


@pytest.mark.parametrize("push", ["name", "a/b/c", "me/x..y", "me/ä", "-me/x", "me/", "/x"])
def test_a_bad_name_is_one_line(push):
    from anima_exp.publishing.sanitize import check_hub_id

    with pytest.raises(ConfigError, match=re.escape(f"push={push} is not a valid hub id")):
        check_hub_id(push, key="push")


@pytest.mark.parametrize(
    "argument", ["token=x", "+token=x", "hf_token=x", "HF_TOKEN=x", "push=hf_" + "a" * 34]
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(argument):
    with pytest.raises(ConfigError, match="A token must not be an argument") as caught:
        secrets.refuse_in_arguments(["run=x", argument])
    assert "aaaa" not in str(caught.value)
    assert secrets.refuse_in_arguments(["run=x", "push=a/b"]) == ["run=x", "push=a/b"]


@pytest.mark.parametrize("front_matter", ["- a\n- b", "model-index:\n- name: x"])
def test_a_head_that_the_hub_could_not_read_is_refused(tmp_path, front_matter):
    folder = adapter(tmp_path / "folder")
    (folder / "README.md").write_text(f"---\n{front_matter}\n---\n")
    assert "README.md: the hub could not read the part between the dashes: " in refused(folder)
