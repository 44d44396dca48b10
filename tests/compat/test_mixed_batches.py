"""Batches of images of different sizes, with FASegSegmentor and MMSegmentation's EncoderDecoder."""

import pytest
import torch
from mmengine.model import BaseDataPreprocessor

from tests.helpers.small_segmentor import build_segmentor, sample

MODELS = [('faseg', 'FASegSegmentor'), ('mask2former', 'EncoderDecoder')]
SIZES = [(64, 96), (64, 96), (50, 71), (33, 40)]


def batch_of(sizes):
    torch.manual_seed(0)
    return dict(
        inputs=[torch.randint(0, 256, (3, *size)).byte() for size in sizes],
        data_samples=[sample(size, size) for size in sizes],
    )


@pytest.mark.parametrize('step', ['test_step', 'val_step'])
@pytest.mark.parametrize(('base', 'kind'), MODELS)
def test_images_of_different_sizes_are_predicted_as_if_alone(base, kind, step):
    model = build_segmentor(base=base, kind=kind, test_padding=dict(size_divisor=32))
    batch = batch_of(SIZES)
    with torch.no_grad():
        results = getattr(model, step)(batch)
        for i, result in enumerate(results):
            alone = {key: values[i : i + 1] for key, values in batch_of(SIZES).items()}
            (expected,) = getattr(model, step)(alone)
            assert result.pred_sem_seg.data.shape == (1, *SIZES[i])
            assert torch.equal(result.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert len(results) == len(SIZES)


def test_what_is_no_batch_of_a_loader_goes_through_as_it_is():
    model = build_segmentor()
    model.data_preprocessor = BaseDataPreprocessor()
    (result,) = model.test_step((torch.randn(1, 3, 64, 96), None))
    assert result.pred_sem_seg.data.shape == (1, 64, 96)


def test_images_of_one_size_stay_one_batch(monkeypatch):
    model = build_segmentor()
    seen = []
    extract = model.extract_feat
    monkeypatch.setattr(model, 'extract_feat', lambda x: seen.append(len(x)) or extract(x))
    with torch.no_grad():
        model.test_step(batch_of([(64, 96)] * 3))
    assert seen == [3]
