"""Large images in bounded memory: 1024 x 2048, 150 classes, 100 queries, width 256."""

import weakref

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_faseg.models import class_map
from mmseg_faseg.models.class_map import ScoreMap, Window

from .small import CONFIGS, feature_maps

HEIGHT, WIDTH, CLASSES = 1024, 2048, 150


class LiveTensors(TorchDispatchMode):
    """Follows the bytes of all tensors made inside: the largest one, and the peak of their sum.

    Not those of tensors that were there before.
    """

    def __init__(self):
        super().__init__()
        self.alive = {}
        self.largest = self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {storage._cdata for storage in _storages((args, kwargs))}
        out = func(*args, **kwargs)
        for storage in _storages(out):
            if storage._cdata not in given:
                self._add(storage)
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


def test_class_map_is_made_in_small_pieces():
    """All scores at once would be 1.2 GB, all masks 0.8 GB."""
    window = Window(
        0, 0, HEIGHT, WIDTH, torch.rand(100, CLASSES), torch.randn(HEIGHT // 4, WIDTH // 4, 100)
    )
    scores = ScoreMap([window], (HEIGHT, WIDTH), (0, 0, 0, 0), None, (HEIGHT, WIDTH))
    with LiveTensors() as tensors:
        for rows, piece in scores.pieces():
            assert piece.shape == (rows.stop - rows.start, WIDTH, CLASSES)
            if rows.stop > 100:
                break
    assert rows.start > 0
    assert tensors.largest <= class_map.PIECE_BYTES
    assert tensors.peak <= 3 * class_map.PIECE_BYTES


@pytest.mark.slow
def test_features_to_masks_stay_under_a_gigabyte():
    config = Config.fromfile(f'{CONFIGS}/_base_/models/faseg.py').model.decode_head
    channels = [64, 128, 256, 512]
    config.update(in_channels=channels, num_classes=CLASSES)
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build(config).eval()
    x = feature_maps(HEIGHT, WIDTH, 1, torch.float32, channels)
    with torch.no_grad(), LiveTensors() as tensors:
        head.predict_masks(x)
    assert tensors.peak < 1e9
