"""What queries look at, and pictures of it."""

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmseg.registry import MODELS

from mmseg_faseg.explain import focus_of_queries, overlay, record, save_focus
from mmseg_faseg.explain.focus import class_map_of, mean_by_layer, query_focus
from mmseg_faseg.explain.recorder import Record
from tests.helpers.configs import load

SIZES = [(96, 160), (360, 480), (33, 65), (1, 200), (1, 1)]


@pytest.fixture(scope='module')
def model():
    cfg = load('faseg_toy')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    torch.nn.init.normal_(model.decode_head.cls_embed.weight, std=3)
    torch.nn.init.normal_(model.decode_head.mask_embed[-1].weight)
    return model


@pytest.mark.parametrize('size', SIZES)
def test_one_query_per_class_with_maps_of_its_levels(model, size, tmp_path):
    queries = focus_of_queries(model, torch.randn(1, 3, *size))
    labels = [query.label for query in queries]
    assert labels and labels == sorted(set(labels))
    for query in queries:
        assert query.mask.shape == size
        assert len(query.layers) == 9
        for index, layer in enumerate(query.layers):
            stride = 32 >> index % 4
            shape = tuple(-(-side // stride) for side in size)
            assert layer.focus.shape == layer.points.shape == shape
            assert layer.focus.sum() == pytest.approx(1, abs=1e-5)
            assert layer.mask.shape == tuple(-(-side // 4) for side in size)
            assert layer.in_regions == (index % 4 == 3)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    save_focus(tmp_path / 'focus.png', image, queries, 'abcdefgh')
    assert imread(tmp_path / 'focus.png').std() > 0.05


@pytest.mark.parametrize('image_size', [(96, 160), (50, 75)])
def test_the_query_is_the_one_that_adds_most_to_the_class(image_size):
    """Of an image at the top left of an input of 96 x 160."""
    (height, width), size = image_size, (96, 160)
    generator = torch.Generator().manual_seed(0)
    class_logits = 3 * torch.randn(1, 20, 9, generator=generator)
    mask_logits = 5 * torch.randn(1, 20, 24, 40, generator=generator)
    recorded = Record(size, class_logits, mask_logits, layers=[], predictor=None)
    probs = class_logits[0].softmax(-1)[:, :-1]
    masks = torch.nn.functional.interpolate(mask_logits, size, mode='bilinear')[0].sigmoid()
    scores = torch.einsum('qk,qhw->qkhw', probs, masks)[..., :height, :width]
    labels = scores.sum(0).argmax(0)
    expected = [
        (label, int((scores[:, label] * (labels == label)).sum((1, 2)).argmax()))
        for label in labels.unique().tolist()
    ]
    class_map = class_map_of(recorded, image_size)
    assert (class_map.labels == labels.numpy()).all()
    assert class_map.main_queries() == expected and len(expected) > 3


def test_padding_belongs_to_no_class_and_no_mask(model):
    inputs = torch.randn(1, 3, 64, 96)
    recorded = record(model, inputs)
    whole, part = class_map_of(recorded, (64, 96)), class_map_of(recorded, (33, 65))
    assert (part.labels == whole.labels[:33, :65]).all()
    assert (part.contributions < whole.contributions).any()
    query = query_focus(recorded, 0, 5, (33, 65))
    assert query.area == pytest.approx((query.mask[:33, :65] >= 0.5).mean())


def test_means_are_over_layers_without_regions_and_over_queries(model):
    queries = focus_of_queries(model, torch.randn(1, 3, 96, 160))
    means = mean_by_layer(queries)
    assert len(means) == 9
    entropies = np.array([[layer.numbers.entropy for layer in q.layers] for q in queries])
    np.testing.assert_allclose([mean.entropy for mean in means], entropies.mean(0))
    masked = [0, 1, 2, 4, 5, 6, 8]
    assert queries[0].mean.entropy == pytest.approx(entropies[0, masked].mean())


def test_overlay_mixes_image_and_palette():
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    painted = overlay(image, labels, [[200, 0, 0], [0, 200, 0]], opacity=0.5)
    assert painted.tolist() == [[[150, 50, 50], [50, 150, 50], [50, 50, 50]]]
