"""What queries look at, and pictures of it."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_faseg.explain import focus_of_queries, overlay, record_focus
from tests.helpers.configs import load


@pytest.fixture(scope='module')
def model():
    cfg = load('faseg_toy')
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


def test_focus_is_that_of_the_layers(model):
    inputs = torch.randn(1, 3, 96, 160)
    with record_focus(model) as recorded, torch.no_grad():
        model.decode_head(model.extract_feat(inputs))
    assert sorted(recorded) == [0, 1, 2, 4, 5, 6]  # HRCA's and the last layer report none
    for layer, focus in recorded.items():
        tokens = (96 * 160) // (32 >> layer % 4) ** 2
        assert focus.shape == (1, 20, tokens)
        torch.testing.assert_close(focus.sum(-1), torch.ones(1, 20))
    with torch.no_grad():
        model.decode_head(model.extract_feat(inputs + 1))
    assert len(recorded) == 6


def test_one_query_per_class_with_maps_of_its_levels(model):
    torch.nn.init.normal_(model.decode_head.cls_embed.weight, std=3)
    queries = focus_of_queries(model, torch.randn(1, 3, 96, 160))
    labels = [query.label for query in queries]
    assert labels and labels == sorted(set(labels))
    for query in queries:
        assert query.mask.shape == (96, 160)
        shapes = [query.focus[layer].shape for layer in (0, 1, 2)]
        assert shapes == [(3, 5), (6, 10), (12, 20)]


def test_overlay_mixes_image_and_palette():
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    painted = overlay(image, labels, [[200, 0, 0], [0, 200, 0]], opacity=0.5)
    assert painted.tolist() == [[[150, 50, 50], [50, 150, 50], [50, 50, 50]]]
