"""How many bytes of tensors live at a time."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Follows the bytes of all tensors made inside: the largest one, and the peak of their sum.

    Not those of tensors that were there before.
    """

    def __init__(self):
        super().__init__()
        self.alive = {}
        self.numels = set()  # of the tensors
        self.largest = self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {storage._cdata for storage in _storages((args, kwargs))}
        out = func(*args, **kwargs)
        for storage in _storages(out):
            if storage._cdata not in given:
                self._add(storage)
        self.numels.update(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))
        return out

    def _add(self, storage):
        if storage._cdata in self.alive:
            return
        self.alive[storage._cdata] = storage.nbytes()
        weakref.finalize(storage, self._remove, storage._cdata)
        self.largest = max(self.largest, storage.nbytes())
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)

    def _remove(self, key):
        self.now -= self.alive.pop(key)


def _storages(values):
    return [x.untyped_storage() for x in tree_leaves(values) if isinstance(x, torch.Tensor)]
