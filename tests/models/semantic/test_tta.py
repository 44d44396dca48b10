import weakref

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from tests.helpers.configs import load
from tests.helpers.small_head import head_config
from tests.helpers.small_segmentor import BACKBONE

FCN = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[120.0] * 3,
        std=[60.0] * 3,
        bgr_to_rgb=True,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(type='ResNet', depth=18, base_channels=4, norm_eval=True),
    decode_head=dict(
        type='FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=3
    ),
    test_cfg=dict(mode='whole'),
)


class Recorded(nn.Module):
    """A segmentor that answers with given class scores, one map after the other."""

    def __init__(self, scores, threshold=None):
        super().__init__()
        self.scores = iter(scores)
        self.alive = weakref.WeakSet()
        self.most_alive = 0
        self.kept = []
        self.decode_head = nn.Module()
        self.decode_head.threshold = threshold

    def test_step(self, data):
        self.kept.append(getattr(self, 'keep_scores', None))
        scores = next(self.scores).clone()
        self.alive.add(scores)
        self.most_alive = max(self.most_alive, len(self.alive))
        for sample in data['data_samples']:
            sample.seg_logits = PixelData(data=scores)
        return data['data_samples']


def tta(module):
    init_default_scope('mmseg')
    return MODELS.build(dict(type='FASegTTAModel', module=module))


def views(number, shape=(4, 5)):
    samples = [[SegDataSample(metainfo=dict(ori_shape=shape))] for _ in range(number)]
    return dict(inputs=[[torch.zeros(3, *shape)]] * number, data_samples=samples)


def test_scores_are_averaged_as_they_are():
    scores = torch.rand(5, 3, 4, 5)
    # a softmax first would flatten the one confident view: here it decides
    scores[:, :, 0, 0] = torch.tensor([0.0, 3.0, 0.0])
    scores[0, :, 0, 0] = torch.tensor([20.0, 0.0, 0.0])
    expected = scores.mean(0).argmax(0)
    assert (expected[0, 0], scores.softmax(1).mean(0).argmax(0)[0, 0]) == (0, 1)
    (result,) = tta(Recorded(scores)).test_step(views(5))
    assert torch.equal(result.pred_sem_seg.data, expected[None])


def test_one_more_map_than_the_sum_is_alive():
    module = Recorded(torch.rand(12, 3, 4, 5))
    tta(module).test_step(views(12))
    assert module.most_alive == 2


def test_scores_are_kept_during_the_passes_and_returned_on_request_only():
    scores = torch.rand(2, 3, 4, 5)
    module = Recorded(scores)
    (result,) = tta(module).test_step(views(2))
    assert module.kept == [True, True]
    assert not module.keep_scores
    assert 'seg_logits' not in result

    module = Recorded(scores)
    module.keep_scores = True
    (result,) = tta(module).test_step(views(2))
    assert module.keep_scores
    torch.testing.assert_close(result.seg_logits.data, scores.mean(0))


def test_an_error_in_a_pass_restores_the_segmentor():
    module = Recorded(torch.rand(1, 3, 4, 5))
    with pytest.raises(StopIteration):
        tta(module).test_step(views(2))
    assert not module.keep_scores


def test_merge_preds_gives_the_same():
    scores = torch.rand(4, 3, 4, 5)
    model = tta(Recorded(scores))
    (result,) = model.test_step(views(4))
    samples = [SegDataSample(seg_logits=PixelData(data=score)) for score in scores]
    (merged,) = model.merge_preds([samples])
    assert torch.equal(merged.pred_sem_seg.data, result.pred_sem_seg.data)


def test_one_class_is_thresholded():
    scores = torch.tensor([[[[0.2, 0.9]]], [[[0.3, 0.5]]]])
    (result,) = tta(Recorded(scores, threshold=0.4)).test_step(views(2, shape=(1, 2)))
    assert result.pred_sem_seg.data.tolist() == [[[0, 1]]]


def test_data_of_another_kind_is_refused():
    with pytest.raises(TypeError, match='dict, tuple or list'):
        tta(Recorded([])).test_step(torch.zeros(1))


@pytest.fixture
def batch(tmp_path):
    """One image of 48 x 70 in three scales and flipped, as a test data loader gives it."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (48, 70, 3), dtype=np.uint8)).save(tmp_path / 'image.png')
    Image.fromarray(rng.integers(0, 3, (48, 70), dtype=np.uint8)).save(tmp_path / 'label.png')
    init_default_scope('mmseg')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='TestTimeAug',
            transforms=[
                [
                    dict(type='AntialiasedResizeShortestEdge', scale=scale, max_size=400)
                    for scale in (40, 64, 97)
                ],
                [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
                [dict(type='LoadAnnotations')],
                [dict(type='PackSegInputs')],
            ],
        ),
    ]
    image = dict(
        img_path=str(tmp_path / 'image.png'),
        seg_map_path=str(tmp_path / 'label.png'),
        reduce_zero_label=False,
        seg_fields=[],
    )
    return pseudo_collate([Compose(pipeline)(image)])


def plain_mean(segmentor, batch):
    """Class scores of each view by the segmentor alone, averaged."""
    scores = []
    with torch.no_grad():
        for inputs, samples in zip(batch['inputs'], batch['data_samples'], strict=True):
            data = dict(inputs=list(inputs), data_samples=[s.clone() for s in samples])
            scores.append(segmentor.test_step(data)[0].seg_logits.data)
    assert len(scores) == 6
    return torch.stack(scores).mean(0)


def test_with_a_stock_segmentor(batch):
    init_default_scope('mmseg')
    segmentor = MODELS.build(Config(FCN)).eval()
    expected = plain_mean(segmentor, batch).argmax(0, keepdim=True)
    (result,) = tta(segmentor).test_step(batch)
    assert result.pred_sem_seg.data.shape == (1, 48, 70)
    assert torch.equal(result.pred_sem_seg.data, expected)


def test_flipped_views_are_flipped_back(batch):
    init_default_scope('mmseg')
    segmentor = MODELS.build(Config(FCN)).eval()
    segmentor.encode_decode = lambda inputs, metas: inputs  # scores: the image's own colours
    segmentor.keep_scores = True
    flips = {name: values[2:4] for name, values in batch.items()}
    alone = {name: values[2:3] for name, values in batch.items()}
    (both,) = tta(segmentor).test_step(flips)
    scores = both.seg_logits.data.clone()
    (one,) = tta(segmentor).test_step(alone)
    torch.testing.assert_close(scores, one.seg_logits.data, rtol=0, atol=1e-5)


def test_the_metric_takes_the_result(batch):
    init_default_scope('mmseg')
    segmentor = MODELS.build(Config(FCN)).eval()
    labels = batch['data_samples'][0][0].gt_sem_seg.data.clone()
    (result,) = tta(segmentor).test_step(batch)
    assert torch.equal(result.gt_sem_seg.data, labels)
    assert result.img_path.endswith('image.png')
    result.pred_sem_seg.data = labels
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    metric.process({}, [result.to_dict()])
    assert metric.evaluate(1)['mIoU'] == 100


def test_with_faseg(batch):
    cfg = load('faseg_swin-t_ade20k')
    cfg.model.backbone = BACKBONE
    cfg.model.decode_head = head_config(in_channels=[4, 8, 16, 32], num_classes=3)
    torch.manual_seed(0)
    segmentor = MODELS.build(cfg.model).eval()
    segmentor.init_weights()
    segmentor.keep_scores = True
    expected = plain_mean(segmentor, batch)
    segmentor.keep_scores = False
    (result,) = MODELS.build(cfg.tta_model | dict(module=segmentor)).test_step(batch)
    assert torch.equal(result.pred_sem_seg.data, expected.argmax(0, keepdim=True))
    assert 'seg_logits' not in result
