from pathlib import Path

import pytest

from anima_exp.errors import ConfigError
from anima_exp.results import identity
from anima_exp.system import hashing


def test_the_same_settings_have_the_same_name(compose):
    assert identity.run_name(compose()) == identity.run_name(
        compose("runs_dir=elsewhere", "tracking=none")
    )


def test_how_a_base_is_kept_is_not_in_the_name(compose):
    assert identity.run_name(compose("quant.cache_quantized=false")) == identity.run_name(compose())


def test_what_changes_the_result_changes_the_name(compose):
    names = {
        identity.run_name(compose(*overrides))
        for overrides in (
            [],
            ["seed=1"],
            ["lora.rank=8"],
            ["data.max_prompt_tokens=64"],
            ["quant=fp4"],
        )
    }
    assert len(names) == 5


def test_saying_a_default_aloud_changes_nothing(compose):
    assert identity.run_name(
        compose("optimizer.learning_rate=${model.recommended.learning_rate}")
    ) == (identity.run_name(compose()))
    plain = compose()
    aloud = compose(f"trainer.max_steps={plain.trainer.max_steps}")
    assert identity.run_name(aloud) == identity.run_name(plain)


def test_a_file_counts_by_its_content_not_its_place(compose, tmp_path):
    def name(path, text):
        path.write_text(text)
        return identity.run_name(compose("data=local", f"data.path={path}", "trainer.max_steps=1"))

    here = name(tmp_path / "a.jsonl", "{}")
    assert name(tmp_path / "b.jsonl", "{}") == here
    assert name(tmp_path / "a.jsonl", "{ }") != here


def test_a_chat_template_in_a_file_counts_by_its_content_and_a_format_by_its_name(
    compose, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def composed(template):
        return compose("data.recipe=messages", f"data.template={template}")

    def name(path, text):
        path.write_text(text)
        return identity.run_name(composed(path))

    here = name(tmp_path / "a.jinja", "{{ messages }}")
    assert name(tmp_path / "b.jinja", "{{ messages }}") == here
    assert name(tmp_path / "a.jinja", "{{ messages }} ") != here
    assert identity.places(composed("b.jinja")) == {"data.template": str(tmp_path / "b.jinja")}
    assert identity.places(composed(tmp_path / "b.jinja")) == {}
    chatml = identity.run_name(composed("chatml"))
    (tmp_path / "chatml").write_text("a file that has the name of a format")
    assert identity.run_name(composed("chatml")) == chatml != here
    assert identity.places(composed("chatml")) == {}


def test_every_setting_is_in_the_record(compose):
    flat = identity.flatten(compose())
    assert flat["quant.type"] == "nf4"
    assert flat["evals.heldout.max_rows"] == 1000


def test_a_recipe_of_your_own_counts_by_its_code(compose, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def name(code):
        (tmp_path / "my_recipes_of_identity.py").write_text(code)
        return identity.run_name(compose("data.recipe=my_recipes_of_identity.mine"))

    assert name("def mine(row): ...") != name("def mine(row): return row")


def test_a_local_base_counts_by_its_files(compose, tmp_path):
    def name(weights):
        (tmp_path / "model.safetensors").write_text(weights)
        return identity.run_name(compose("model=local", f"model.source={tmp_path}"))

    assert name("a") == name("a") != name("b")


def test_the_cells_of_a_sweep_read_a_local_base_once(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)  # as if its files were older
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}")
    places = str(tmp_path), str(tmp_path / "data.jsonl")
    first = [identity.content_hash(place) for place in places]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", None)
        patch.setattr(hashing, "_read", None)
        assert [identity.content_hash(place) for place in places] == first


def test_a_base_that_cannot_be_read_is_no_hub_id(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ConfigError, match=r"base cannot be read: Permission denied \(.*base\)"):
        identity.content_hash(str(tmp_path / "base"))


def test_the_adapters_settings_count_only_where_there_is_an_adapter(compose):
    full = ("lora=full_finetune", "quant=none")
    assert identity.run_name(compose(*full)) == identity.run_name(compose(*full, "lora.rank=8"))
