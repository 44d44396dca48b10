"""MMSegmentation's own test-time augmentation over FASegSegmentor."""

import torch
from mmengine.registry import DefaultScope
from mmseg.models import SegTTAModel

from tests.helpers.small_segmentor import build_segmentor, sample

SIZE = (64, 96)


def views():
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, *SIZE)).byte() for _ in range(2)]
    return dict(
        inputs=[[image] for image in images],
        data_samples=[[sample(SIZE, SIZE)], [sample(SIZE, SIZE, flip='horizontal')]],
    )


def test_the_stock_model_averages_our_scores():
    segmentor = build_segmentor()
    with DefaultScope.overwrite_default_scope('mmseg'), torch.no_grad():
        (result,) = SegTTAModel(module=segmentor).test_step(views())
        assert not segmentor.keep_scores
        segmentor.keep_scores = True
        scores = 0
        for i in range(2):
            view = {key: values[i] for key, values in views().items()}
            (one,) = segmentor.test_step(view)
            scores = scores + one.seg_logits.data.softmax(0)
    assert torch.equal(result.pred_sem_seg.data[0], scores.argmax(0))
