"""A folder that holds no model says where the model is, or what is missing."""

import pytest

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.model.base_files import check_base_files, check_has_tokenizer


def refused(folder):
    model = ModelConfig(name="m", source=str(folder))
    with pytest.raises(ModelError) as told:
        check_base_files(model)
        check_has_tokenizer(model)
    return str(told.value).removeprefix(f"model.source={folder}: ")


def test_an_empty_folder(tmp_path):
    assert refused(tmp_path) == "the folder is empty."


@pytest.mark.parametrize("inside", ["inner", "snapshots/0a1b"])
def test_a_folder_above_the_model(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "config.json").write_text("{}")
    assert refused(tmp_path) == (
        f"the folder holds no config.json, but {inside} in it does. Use "
        f"model.source={tmp_path}/{inside}."
    )


def test_a_model_without_a_vocabulary(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    model = ModelConfig(name="m", source=str(tmp_path))
    with pytest.raises(ModelError, match=r"the folder holds no tokenizer\.json and no other"):
        check_has_tokenizer(model)
    model.tokenizer = "tiny"
    check_has_tokenizer(model)
