"""`python -m anima_exp.publish` against a hub on this machine."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save_file
from support.hub_server import TOKEN, publish, serving
from support.model_folders import adapter, model


@pytest.fixture
def hub():
    with serving() as hub:
        yield hub


def test_a_dry_run_lists_everything_and_asks_nobody(hub, tmp_path):
    folder = adapter(tmp_path / "mine")
    status, out, err = publish(f"folder={folder}", "push=me/name", url=hub.url)
    assert (status, err) == (0, "")
    for told in (
        f"from    {folder}",
        f"to      me/name on {hub.url}, private",
        "in all  4 files, 20.4 kB, one commit",
        "adapter_model.safetensors  20.1 kB",
        "base_model           huggyllama/llama-7b",
        "The model card names no licence. Choose one that the base and the data allow",
        "Nothing was uploaded. Run the same command with confirm=true to upload.",
    ):
        assert told in out
    assert hub.asked == []


def test_it_is_sent_whole_in_one_commit_and_private(hub, tmp_path):
    folder = adapter(tmp_path / "mine")
    words = (f"folder={folder}", "push=me/name", "confirm=true")
    status, out, err = publish(*words, url=hub.url)
    assert (status, err) == (0, "")
    assert f"Uploaded: {hub.url}/me/name (private)" in out
    names = sorted(path.name for path in folder.iterdir())
    assert hub.commits == [("me/name", "mine made by anima-exp", names)]
    there = hub.repositories["me/name"]
    assert there["private"] is True
    for path in folder.iterdir():
        if path.name != "README.md":
            assert there["files"][path.name] == path.read_bytes()
    assert b'"me/name"' in there["files"]["README.md"]
    assert len(hub.objects) == 1  # the weights, by LFS


@pytest.mark.parametrize(
    ("made", "target", "name"), [(adapter, "all_linear", "adapter"), (model, "none", "model")]
)
def test_a_run_publishes_what_it_trained(hub, tmp_path, made, target, name):
    folder = made(tmp_path / "run" / name)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    empty = {"scores": {}, "scores_before": {}, "rows": {}, "parameters": {}, "steps": 0}
    times = {"tokens": 0, "starts": 1, "train_seconds": 0, "eval_seconds": 0, "finished": ""}
    rest = {"peak_memory_gib": 0, "name": "x", "data_fingerprint": "", "base_fingerprint": ""}
    record = empty | times | rest | {"settings": {"lora.target_modules": target}}
    (tmp_path / "run" / "record.json").write_text(json.dumps(record))
    words = (f"run={tmp_path}/run", "push=me/name", "private=false", "confirm=true")
    status, out, err = publish(*words, url=hub.url)
    assert (status, err) == (0, "")
    assert "public: everyone can read it" in out
    assert hub.repositories["me/name"]["private"] is False
    assert set(hub.repositories["me/name"]["files"]) == {path.name for path in folder.iterdir()}


def test_metadata_of_weights_is_not_sent(hub, tmp_path):
    folder = adapter(tmp_path / "mine")
    weights = folder / "adapter_model.safetensors"
    numbers = {"a": np.arange(5000, dtype=np.float32)}
    save_file(numbers, weights, metadata={"format": "pt", "ss_base": "http://ada:secret@host/x"})
    before = weights.read_bytes()
    words = (f"folder={folder}", "push=me/name", "confirm=true")
    status, out, err = publish(*words, url=hub.url)
    assert (status, err) == (0, "")
    assert "Metadata of adapter_model.safetensors that is not uploaded: ss_base." in out
    sent = hub.repositories["me/name"]["files"]["adapter_model.safetensors"]
    assert b"secret" not in sent and weights.read_bytes() == before
    assert np.array_equal(load(sent)["a"], numbers["a"])
    copy = tmp_path / "sent.safetensors"
    copy.write_bytes(sent)
    with safe_open(copy, "np") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_model_without_a_card_is_told_of(tmp_path):
    out = publish(f"folder={model(tmp_path / 'merged')}", "push=me/name")[1]
    assert "There is no model card: README.md is missing" in out


def test_a_local_base_is_named_by_the_hub_in_what_is_sent(hub, tmp_path):
    folder = adapter(tmp_path / "mine", base=str(tmp_path))
    words = (f"folder={folder}", "push=me/name", "base=me/base", "confirm=true")
    assert publish(*words, url=hub.url)[0] == 0
    sent = hub.repositories["me/name"]["files"]["adapter_config.json"]
    assert json.loads(sent)["base_model_name_or_path"] == "me/base"
    assert not any(str(tmp_path).encode() in one for one in
                   hub.repositories["me/name"]["files"].values())  # fmt: skip


def test_what_was_there_before_stays_and_is_told(hub, tmp_path):
    hub.add(
        "me/name", private=True, files={"old.txt": b"", "README.md": b"", ".gitattributes": b""}
    )
    words = (f"folder={adapter(tmp_path / 'mine')}", "push=me/name", "confirm=true")
    status, out, _ = publish(*words, url=hub.url)
    assert status == 0
    assert "Other files in the repository were kept: old.txt\n" in out


def test_a_public_repository_is_not_written_to_by_default(hub, tmp_path):
    hub.add("me/name", private=False)
    words = (f"folder={adapter(tmp_path / 'mine')}", "push=me/name", "confirm=true")
    status, _, err = publish(*words, url=hub.url)
    assert (status, err.count("\n")) == (1, 1)
    assert "push=me/name already exists and is public" in err
    assert hub.commits == []
    assert publish(*words, "private=false", url=hub.url)[0] == 0


@pytest.mark.parametrize(
    ("push", "fails", "says"),
    [
        ("me/name", {"GET /api/models": 401}, "the hub rejects the token. Run `hf auth login`"),
        ("others/name", {}, "the token has no permission to write there"),
        ("me/name", {"POST /api/models/me/name/commit": 403}, "No file was uploaded."),
        (
            "me/name",
            {"POST /api/models/me/name/commit": 412},
            "the repository changed during the upload.",
        ),
        ("me/name", {"POST /api/repos/create": 409}, "another upload is in progress there."),
        ("me/name", {"PUT /objects": 400}, "No file was uploaded."),
        ("me/name", {"POST /me/name.git/info/lfs": 413}, "No file was uploaded."),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_half_sent(hub, tmp_path, push, fails, says):
    hub.fails = fails
    words = (f"folder={adapter(tmp_path / 'mine')}", f"push={push}", "confirm=true")
    status, _, err = publish(*words, url=hub.url)
    assert (status, err.count("\n")) == (1, 1), err
    assert err.startswith(f"anima_exp: push={push}: ")
    assert says in err
    assert hub.commits == []
    assert not any(one["files"] for one in hub.repositories.values())


def test_a_commit_whose_answer_is_lost_is_not_told_as_failed(hub, tmp_path):
    hub.lost = True
    words = (f"folder={adapter(tmp_path / 'mine')}", "push=me/name", "confirm=true")
    status, _, err = publish(*words, url=hub.url)
    assert (status, err.count("\n")) == (1, 1), err
    assert f"It is unknown whether files were uploaded: check {hub.url}/me/name." in err


def test_a_wrong_token_no_token_and_no_network_are_one_line_each(hub, tmp_path):
    words = (f"folder={adapter(tmp_path / 'mine')}", "push=me/name", "confirm=true")
    for how, says in (
        ({"url": hub.url, "token": "hf_wrong"}, "the hub rejects the token"),
        ({"url": hub.url, "token": ""}, "There is no hub token. Run `hf auth login`"),
        ({"url": "http://127.0.0.1:9"}, "Nothing was uploaded."),
        ({"url": hub.url, "HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set."),
    ):
        status, _, err = publish(*words, **how)
        assert (status, err.count("\n")) == (1, 1), err
        assert says in err
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["push=a/b"], "Give either run=FOLDER (a finished run) or folder=FOLDER, and not both."),
        (["push=a/b", "run=x", "folder=y"], "and not both."),
        (["folder=x"], "push is not set, so there is no repository. Give push=user/name."),
        (["folder=x", "push=a/b", f"token={TOKEN}"], "A token must not be an argument"),
        (["folder=x", "push=a/b", "privat=false"], "Did you mean 'private'?"),
        (["folder=x", "push=a/b", "private=maybe"], "private=maybe is not true or false."),
        (["run=x", "push=a/b"], "run=x is not a run folder"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    status, out, err = publish(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert line in err


def test_help_is_for_a_newcomer_and_a_dry_run_loads_no_torch(tmp_path):
    assert "hf auth login" in publish("--help")[1]
    words = [f"folder={adapter(tmp_path / 'mine')}", "push=me/name"]
    code = f"""
import runpy, sys
sys.argv = ["publish", *{words!r}]
runpy.run_module("anima_exp.publish", run_name="__main__")
print([m for m in ("torch", "transformers", "peft", "numpy") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
