"""How many bytes of tensors are alive, now and at most, inside a `with`: exact, on a CPU too."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts every storage that an operation returns, until nothing holds it any more."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = set()

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        found = operation(*arguments, **(settings or {}))
        old = {id_of(one) for one in tree_leaves((arguments, settings)) if is_tensor(one)}
        for one in tree_leaves(found):
            if is_tensor(one) and id_of(one) not in old | self._known:
                self._add(one.untyped_storage())
        return found

    def _add(self, storage):
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)

        def freed():
            self._known.discard(key)
            self.now -= size

        weakref.finalize(storage, freed)


def is_tensor(value):
    return isinstance(value, torch.Tensor)


def id_of(tensor):
    return tensor.untyped_storage()._cdata
