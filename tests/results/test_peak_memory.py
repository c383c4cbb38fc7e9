"""Peak memory is that of the fullest GPU, with optimizer states that torch does not count."""

from types import SimpleNamespace

import pytest
import torch

from anima_exp.libraries.bitsandbytes_internals import paged_bytes
from anima_exp.results.provenance import peak_memory_gib, peak_reserved_gib

GIB = 2**30


@pytest.fixture
def gpus(monkeypatch):
    """gpus((allocated, reserved), ...): GPUs of 24 GiB with such peaks, in GiB."""

    def _gpus(*peaks):
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "is_available", lambda: True)
        monkeypatch.setattr(cuda, "device_count", lambda: len(peaks))
        monkeypatch.setattr(cuda, "max_memory_allocated", lambda gpu=0: int(peaks[gpu][0] * GIB))
        monkeypatch.setattr(cuda, "max_memory_reserved", lambda gpu=0: int(peaks[gpu][1] * GIB))
        whole = SimpleNamespace(total_memory=24 * GIB)
        monkeypatch.setattr(cuda, "get_device_properties", lambda gpu: whole)

    return _gpus


def test_of_several_gpus_it_is_that_of_the_fullest(gpus):
    gpus((3.0, 4.0), (12.5, 14.0), (8.0, 8.5))
    assert (peak_memory_gib(), peak_reserved_gib()) == (12.5, 14.0)


def test_states_that_can_move_count_as_far_as_the_gpu_has_room(gpus):
    gpus((3.0, 4.0), (12.5, 14.0))
    assert peak_memory_gib({1: 2 * GIB}) == 14.5
    assert peak_reserved_gib({1: 2 * GIB}) == 16.0
    assert peak_memory_gib({0: 11 * GIB}) == 14.0, "now the first GPU is the fullest"
    assert peak_reserved_gib({1: 30 * GIB}) == 24.0
    gpus((20.0, 24.5))
    assert peak_memory_gib({0: GIB}) == 20.0


def test_without_a_gpu_nothing_is_reserved(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert peak_reserved_gib() is None
    assert peak_memory_gib({0: GIB}) == peak_memory_gib()


def test_the_paged_states_of_an_optimizer_are_added_up_by_gpu():
    def states(paged):
        found = torch.zeros(1000, dtype=torch.float32)
        found.is_paged = paged
        return {"state1": found, "state2": found.clone(), "step": 3}

    class On:
        def __init__(self, gpu):
            self.device = SimpleNamespace(index=gpu)

    state = {
        On(0): states(True), On(0): states(False), On(1): states(True), On(1): states(True),
    }  # fmt: skip
    assert paged_bytes(SimpleNamespace(state=state)) == {0: 4000, 1: 8000}
