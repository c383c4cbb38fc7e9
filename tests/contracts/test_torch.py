"""torch still has what libraries/torch_internals.py uses; a test names each part."""

import inspect
import os
import pickle

import pytest
import torch
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
    from anima_exp.model import lora_update

    names = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            names.append(internals.operation_name(operation))
            return operation(*args, **(kwargs or {}))

    layer = torch.nn.Linear(3, 2)
    number = lora_update._number(layer)
    with Watch(), torch.no_grad():
        a, b = torch.ones(1, 3), torch.ones(2, 1)
        lora_update._lora_linear(torch.ones(1, 3), a, b, a, b, None, number, 1.0, 0.0, 0)
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
