"""Large images in bounded memory: 1024 x 2048, 150 classes, 100 queries, width 256."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_faseg.models.merging.panoptic import Candidates, merging
from mmseg_faseg.models.merging.rows import MaskRows, Window
from mmseg_faseg.models.merging.semantic import MaskScores
from mmseg_faseg.models.ops.chunks import chunk_bytes
from tests.helpers.live_tensors import LiveTensors
from tests.helpers.small_head import CONFIGS, feature_maps

HEIGHT, WIDTH, CLASSES = 1024, 2048, 150


def test_class_map_is_made_in_small_chunks():
    """All scores at once would be 1.2 GB, all masks 0.8 GB."""
    window = Window(0, 0, HEIGHT, WIDTH, torch.randn(HEIGHT // 4, WIDTH // 4, 100))
    image = MaskRows([window], (HEIGHT, WIDTH), (0, 0, 0, 0), None, (HEIGHT, WIDTH))
    with LiveTensors() as tensors:
        for rows, scores in MaskScores(image, [torch.rand(100, CLASSES)]).chunks():
            assert scores.shape == (rows.stop - rows.start, WIDTH, CLASSES)
            if rows.stop > 100:
                break
    assert rows.start > 0
    chunk = chunk_bytes(window.mask_logits.device)
    assert tensors.largest <= chunk / 2
    assert tensors.peak <= 1.5 * chunk


@pytest.mark.parametrize(
    ('kind', 'largest', 'peak'),
    [('argmax', 8e6, 5e7), ('mask-wise', 2.1e8, 3e8)],  # the latter keeps a byte a pixel and mask
)
def test_panoptic_segments_are_made_in_small_chunks(kind, largest, peak):
    """MMDetection holds all masks in floating point, 0.8 GB, several times."""
    window = Window(0, 0, HEIGHT, WIDTH, torch.randn(HEIGHT // 4, WIDTH // 4, 100))
    image = MaskRows([window], (HEIGHT, WIDTH), (0, 0, 0, 0), None, (HEIGHT, WIDTH))
    candidates = Candidates.of(torch.randn(100, 134), num_things=80)
    merge = merging(dict(merging=kind), 80, 53)
    with LiveTensors() as tensors:
        segments = merge(image, candidates)
    assert segments.shape == (1, HEIGHT, WIDTH)
    assert tensors.largest <= max(largest, chunk_bytes(window.mask_logits.device) / 2)
    assert tensors.peak <= peak


@pytest.mark.full_size
def test_features_to_masks_stay_under_a_gigabyte():
    config = Config.fromfile(f'{CONFIGS}/_base_/models/methods/faseg.py').model.decode_head
    channels = [64, 128, 256, 512]
    config.update(in_channels=channels, num_classes=CLASSES)
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build(config).eval()
    x = feature_maps(HEIGHT, WIDTH, 1, torch.float32, channels)
    with torch.no_grad(), LiveTensors() as tensors:
        head.predict_masks(x)
    assert tensors.peak < 1e9


@pytest.fixture(scope='module')
def head():
    """Q = 90, so that what is counted below is not something else of that size."""
    config = Config.fromfile(f'{CONFIGS}/_base_/models/methods/faseg.py').model.decode_head
    config.update(in_channels=[16, 32, 64, 128], num_classes=CLASSES, num_queries=90)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(config).eval()


def test_the_decoder_makes_no_full_size_mask_and_no_product_per_query(head):
    """Attention masks at the level's size, A K_p as a matrix product, no projection of level 3."""
    levels = [4 * 6 * 4**i for i in range(4)]
    counted = LiveTensors()
    decoder = head.transformer_decoder
    run = decoder.forward

    def counting(*args):
        with counted:
            return run(*args)

    decoder.forward = counting
    try:
        with torch.no_grad():
            head.predict_masks(feature_maps(128, 192, 1, torch.float32, [16, 32, 64, 128]))
    finally:
        del decoder.forward
    queries, heads, width = 90, 8, 256
    assert queries * levels[2] in counted.numels  # the measure works
    assert queries * levels[3] not in counted.numels
    assert not any(queries * tokens * width in counted.numels for tokens in levels)
    assert counted.largest <= 4 * levels[2] * max(heads * queries, width)


def test_scores_are_the_only_thing_of_the_images_size(head):
    """All masks would be 30 MB more, and a resized copy of the scores 50 MB."""
    x = feature_maps(256, 320, 1, torch.float32, [16, 32, 64, 128])
    with torch.no_grad(), LiveTensors() as tensors:
        scores = head.predict(x, [dict(img_shape=(256, 320))], None)
    assert scores.shape == (1, CLASSES, 256, 320)
    assert tensors.largest == scores.nbytes
    masks = 90 * 256 * 320 * 4
    assert tensors.peak < scores.nbytes + masks


def test_training_keeps_no_sampled_value(head):
    """``grid_sample`` keeps 12 C numbers a token, for the gradient of their weights."""
    x = feature_maps(128, 192, 1, torch.float32, [16, 32, 64, 128])
    sampled = 6 * sum(4 * 6 * 4**i for i in range(3)) * 12 * 256 * 4

    def bytes_kept(backend):
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        head.pixel_decoder.deformable_backend = backend
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = head.pixel_decoder(x)
        head.pixel_decoder.deformable_backend = 'auto'
        return out and sum(kept.values())

    assert bytes_kept('embedding_bag') < bytes_kept('grid_sample') - 0.9 * sampled
