"""transformers still renames weights as libraries/transformers_names.py uses it."""

import pytest
import torch
from safetensors.torch import load_file
from support.small_models import small

from anima_exp.libraries.transformers_names import Names


@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss"])
def test_files_are_put_together_as_in_memory_and_taken_apart_again(family, tmp_path):
    model = small(family)
    model.save_pretrained(tmp_path)
    files = load_file(tmp_path / "model.safetensors")
    names = Names(model)
    found = names.in_memory(files)
    memory = model.state_dict()
    assert set(found) == set(memory)
    for name, parts in found.items():
        read = {part: files[part] for part in parts}
        assert torch.equal(names.together(name, read), memory[name])
        if names.is_made(parts[0]):
            assert names.come_apart(name, parts, tuple(memory[name].shape))
            written = names.apart(name, memory[name])
            assert written.keys() == read.keys()
            assert all(torch.equal(written[part], read[part]) for part in parts)


def test_a_file_of_the_inner_model_gets_the_prefix():
    names = Names(small("llama"))
    assert names.in_memory(["layers.0.mlp.up_proj.weight"]) == {
        "model.layers.0.mlp.up_proj.weight": ["layers.0.mlp.up_proj.weight"]
    }
