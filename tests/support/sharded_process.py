"""One of the processes of test_sharded.py: what sharding changes, as facts in a file.

python sharded_process.py FOLDER RANK PROCESSES
"""

import gc
import json
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[1]))

from anima_exp.config import (
    ActivationCheckpointing,
    LoraConfig,
    ModelConfig,
    Precision,
    QuantConfig,
    Quantization,
    TargetModules,
)
from anima_exp.data.micro_batch import pack_rows, token_weights
from anima_exp.errors import ModelError
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import load_base
from anima_exp.model.decoding import Sampling, decode
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.forward import loss_of
from anima_exp.model.fsdp import frozen_bytes, shard_base
from anima_exp.model.generation import inference_mode
from anima_exp.model.hashed_dropout import token_keys
from anima_exp.model.varlen_attention import packed_attention
from support.small_models import some_rows

WAYS = list(ActivationCheckpointing)
STORAGES = {  # name: type, double quantization, precision, layers with an adapter
    "none": (Quantization.none, False, Precision.fp32, TargetModules.all_linear),
    "bf16": (Quantization.none, False, Precision.bf16, TargetModules.all_linear),
    "nf4": (Quantization.nf4, False, Precision.fp32, TargetModules.all_linear),
    "nf4-double": (Quantization.nf4, True, Precision.fp32, TargetModules.all_linear),
    "fp4": (Quantization.fp4, False, Precision.fp32, TargetModules.key_query),
    "int8": (Quantization.int8, False, Precision.fp32, TargetModules.key_query),
}


class Ids:
    """A tokenizer whose text is the ids."""

    pad_token_id, eos_token_id = 0, 2

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


def load(base, storage):
    kind, double, precision, targets = STORAGES[storage]
    torch.manual_seed(0)
    quant = QuantConfig(kind, double, precision)
    model = load_base(ModelConfig("small", base), quant, precision=precision)
    model = add_lora(model, LoraConfig(targets, rank=4, alpha=8, dropout=0.2)).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros would hide what A does
            torch.nn.init.normal_(parameter, std=0.1)
    return model, precision


def gradients(model, keys, precision, chosen):
    """Of the rows `chosen` of the batch: the loss and every gradient."""
    rows = some_rows()
    batch = pack_rows(rows, list(chosen), token_weights(rows))
    keys.now = token_keys(0, 0, chosen, batch.lengths, torch.device("cpu"))
    autocast = torch.autocast("cpu", torch.bfloat16) if precision is Precision.bf16 else None
    with packed_attention(model):
        with autocast or nullcontext():
            loss = loss_of(model, batch)
        loss.backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    keys.now = None
    return [loss.detach(), *found.values()]


def answers(model, precision):
    with inference_mode(model, precision):
        prompts = [[5, 9, 11], [7, 8]]
        return [a.text for a in decode(model, Ids(), prompts, Sampling(6))]


def saved(model, folder):
    model.save_pretrained(folder)
    return (folder / "adapter_model.safetensors").read_bytes()


def tensor_bytes():
    """Of all memory that a tensor of this process reaches."""
    gc.collect()
    reached = (one for one in gc.get_objects() if issubclass(type(one), torch.Tensor))
    storages = [one.untyped_storage() for one in reached if not hasattr(one, "to_local")]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def after_release(enough):
    """Return `tensor_bytes`, once it is below `enough` or after 5 s: a thread may free late."""
    for _ in range(50):
        if (left := tensor_bytes()) < enough:
            break
        time.sleep(0.1)
    return left


def same(found, expected):
    return len(found) == len(expected) > 1 and all(map(torch.equal, found, expected))


def facts(base, storage, folder, rank, processes):
    model, precision = load(base, storage)
    keys = lora_linear.install(model)
    every = range(len(some_rows()))
    mine = every[rank::processes]
    expected = {}
    for way in WAYS:
        apply_activation_checkpointing(model, way)
        expected[way] = gradients(model, keys, precision, mine)
    whole = gradients(model, keys, precision, every)
    found = {"answers whole": answers(model, precision), "frozen whole": frozen_bytes(model)}
    found["blocks whole"] = sum(
        one.nbytes
        for name, one in model.named_parameters()
        if ".layers." in name and not one.requires_grad
    )
    adapter, memory = saved(model, folder / "whole"), tensor_bytes()

    for turn in range(processes):  # one after the other, as a machine with little memory needs it
        if turn == rank:
            found["frozen here"] = shard_base(model)
        distributed.barrier()
    found["answers before training"] = answers(model, precision)
    for way in (*WAYS, WAYS[0]):
        apply_activation_checkpointing(model, way)
        gradient = gradients(model, keys, precision, mine)
        found[way.value] = same(gradient, expected[way])
    found["answers after training"] = answers(model, precision)
    own = sum(one.nbytes for one in gradient)
    left = after_release(memory + own - found["blocks whole"] / 4)
    found["memory saved"] = memory - left + own
    found["adapter saved"] = saved(model, folder / "sharded") == adapter
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.zero_()
    model.load_adapter(folder / "whole", "default", is_trainable=True)
    found["adapter loaded"] = same(gradients(model, keys, precision, mine), expected[WAYS[0]])
    for one in gradient:
        distributed.all_reduce(one)
    off = [float((a - b).norm() / b.norm()) for a, b in zip(gradient, whole, strict=True)]
    found["sum off by"] = max(off)
    return found


def refusals(base):
    """What shard_base says of models that it cannot split."""
    said = []
    learns, _ = load(base, "none")
    copied, _ = load(base, "nf4")
    keep_dequantized(copied)
    for model in (learns.requires_grad_(True), copied):
        try:
            shard_base(model)
        except ModelError as error:
            said.append(str(error))
    return said


def main(folder, rank, processes):
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=30),
    )
    base, own = str(folder / "base"), folder / str(rank)
    gc.freeze()  # what was imported: to look through it again and again takes seconds
    found = {one: facts(base, one, own / one, rank, processes) for one in STORAGES}
    found["refusals"] = refusals(base)
    (own / "facts.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
