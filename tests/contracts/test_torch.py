"""torch still has what libraries/torch_internals.py uses; a test names each part."""

import inspect
import os
import pickle

import pytest
import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from anima_exp.libraries import torch_internals as internals


def operations(work):
    """The names that the operations of `work()` have for selective checkpointing."""
    names = []

    def policy(context, operation, *_, **__):
        names.append(internals.operation_name(operation))
        return CheckpointPolicy.PREFER_RECOMPUTE

    checkpoint(
        work, use_reentrant=False, context_fn=lambda: create_selective_checkpoint_contexts(policy)
    )
    return names


def test_products_of_matrices_have_the_names_that_are_kept():
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(3, 2)
    assert "mm" in operations(lambda: a @ b)
    assert "addmm" in operations(lambda: torch.addmm(torch.ones(2, 2), a, b))
    assert "bmm" in operations(lambda: a[None] @ b[None])
    assert {"mm", "addmm", "bmm"} <= set(internals.PRODUCTS)


def test_torchs_attention_has_a_name_that_is_kept():
    q = torch.ones(1, 1, 4, 8, requires_grad=True)
    names = operations(lambda: scaled_dot_product_attention(q, q, q, is_causal=True))
    assert any(name.startswith(internals.ATTENTIONS) for name in names)


def test_an_operation_of_ours_has_its_own_name():
    from anima_exp.model import lora_linear

    names = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            names.append(internals.operation_name(operation))
            return operation(*args, **(kwargs or {}))

    layer = torch.nn.Linear(3, 2)
    number = lora_linear._number(layer)
    with Watch(), torch.no_grad():
        a, b = torch.ones(1, 3), torch.ones(2, 1)
        lora_linear._lora_linear(
            torch.ones(1, 3), a, b, a, b, None, None, None, number, 1.0, 0.0, 0
        )
    assert "lora_linear" in names


def test_a_kept_result_that_is_changed_in_place_is_an_error_in_known_words():
    def keep(*_, **__):
        return CheckpointPolicy.MUST_SAVE

    x = torch.ones(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError) as error:
        checkpoint(
            lambda: (x @ x).mul_(2).sin(),
            use_reentrant=False,
            context_fn=lambda: create_selective_checkpoint_contexts(keep),
        ).sum().backward()
    assert internals.says_changed_in_place(error.value)


def test_a_file_with_more_than_weights_is_refused_with_the_argument_that_allows_it(tmp_path):
    class Call:
        def __reduce__(self):
            return os.getpid, ()

    torch.save({"weight": Call()}, tmp_path / "model.bin")
    with pytest.raises(pickle.UnpicklingError) as error:
        torch.load(tmp_path / "model.bin", weights_only=True)
    assert internals.says_weights_only(error.value)


def test_torch_tells_whether_the_processor_multiplies_in_bf16():
    assert internals.processor_has_bf16() in (True, False)


def test_torch_knows_whether_a_fork_has_lost_the_gpu():
    assert internals.lost_gpu_in_fork() is False


def test_every_dropout_of_torch_has_one_base_class():
    for kind in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"):
        assert internals.is_dropout(getattr(torch.nn, kind)())
    assert not internals.is_dropout(torch.nn.Linear(1, 1))


def test_attention_over_rows_of_different_lengths_takes_their_borders():
    from torch.nn.attention.varlen import varlen_attn

    names = list(inspect.signature(varlen_attn).parameters)
    assert names[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert {"window_size", "is_causal"} & internals.varlen_options()


@pytest.fixture
def alone():
    """A group of one process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.fixture
def torch_2_11(monkeypatch):
    """Make the parameter of a shard as torch 2.9 to 2.11 do: it asks for gradients at first."""
    from torch.distributed.fsdp._fully_shard import _fsdp_param

    class Modules:
        Module = torch.nn.Module

        def Parameter(self, data, requires_grad=None):
            return torch.nn.Parameter(data)

    monkeypatch.setattr(_fsdp_param, "nn", Modules())
    return _fsdp_param


def frozen_integers():
    module = torch.nn.Module()
    weight = torch.arange(8, dtype=torch.uint8)
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    return module


def test_torch_2_11_splits_no_integers_by_itself(alone, torch_2_11):
    with pytest.raises(RuntimeError, match="only Tensors of floating point dtype can require"):
        fully_shard(frozen_integers(), mesh=alone)


def test_frozen_integers_are_split_by_every_torch(alone, torch_2_11):
    module, before = frozen_integers(), torch_2_11.nn
    with internals.integers_can_be_sharded():
        fully_shard(module, mesh=alone)
    assert module.weight.to_local().tolist() == list(range(8))
    assert not module.weight.requires_grad
    assert torch_2_11.nn is before


def test_what_learns_is_split_as_before(alone):
    with internals.integers_can_be_sharded():
        module = fully_shard(torch.nn.Linear(2, 2), mesh=alone)
    assert all(one.requires_grad for one in module.parameters())
