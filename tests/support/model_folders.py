"""Folders with an adapter or a model, of a few bytes."""

import json

import numpy as np
from safetensors.numpy import save_file

CARD = """---
base_model: huggyllama/llama-7b
base_model_relation: adapter
library_name: peft
license: other
---

# mine

    base, adapter = "FOLDER_OR_HUB_ID_OF_THE_BASE", "FOLDER_OR_HUB_ID_OF_THIS"
"""


def weights(path, numbers=8):
    save_file({"a": np.arange(numbers, dtype=np.float32)}, path)


def adapter(folder, base="huggyllama/llama-7b"):
    folder.mkdir(parents=True)
    weights(folder / "adapter_model.safetensors", 5000)
    settings = {"peft_type": "LORA", "base_model_name_or_path": base, "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(json.dumps({"vocab": {"/home/x/y": 1}}))
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def model(folder):
    folder.mkdir(parents=True)
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name in shards.values():
        weights(folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder
