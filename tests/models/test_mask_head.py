"""The mask head is nobody's: MMDetection's contract takes a few lines over it."""

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmseg_faseg.models.decoders.positional_query import PositionalQuery
from mmseg_faseg.models.losses import MaskTensors, from_instances, from_panoptic
from mmseg_faseg.models.mask_head import MaskHead
from mmseg_faseg.registry import register
from tests.helpers.small_head import WIDTH, build_head, feature_maps, head_config
from tests.helpers.small_segmentor import BACKBONE

THINGS, STUFF = 3, 2
SIZE = (64, 96)
MASK2FORMER = dict(
    num_transformer_feat_level=3,
    mask_threshold=0.5,
    high_res_attn=None,
    positional_query=dict(type='LearnedPositionalQuery'),
    positional_encoding=dict(
        type='mmdet.SinePositionalEncoding', num_feats=WIDTH // 2, normalize=True
    ),
    **{'transformer_decoder.num_layers': 9},
)


@MMDET_MODELS.register_module()
class DetectionHead(MaskHead):
    """MMDetection's contract of a panoptic head."""

    def __init__(self, num_things_classes, num_stuff_classes, test_cfg=None, **kwargs):
        super().__init__(num_classes=num_things_classes + num_stuff_classes, **kwargs)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes

    def forward(self, x, batch_data_samples=None):
        class_logits, masks = self.predict_all(x)
        return list(class_logits), list(masks.tensors())

    def loss(self, x, batch_data_samples):
        if self.num_stuff_classes:
            counts = self.num_things_classes, self.num_stuff_classes
            targets = from_panoptic(batch_data_samples, *counts)
        else:
            targets = from_instances(batch_data_samples)
        return self.train_losses(x, targets)

    def predict(self, x, batch_data_samples):
        class_logits, mask_logits = self.predict_last(x)
        size = batch_data_samples[0].batch_input_shape
        return class_logits, torch.nn.functional.interpolate(mask_logits, size, mode='bilinear')


def detector(head: ConfigDict, stuff=STUFF):
    """MMDetection's Mask2Former around a head."""
    head.update(num_things_classes=THINGS, num_stuff_classes=stuff)
    train_cfg = head.pop('train_cfg')
    tasks = dict(panoptic_on=stuff > 0, semantic_on=False, instance_on=True)
    config = ConfigDict(
        type='Mask2Former',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, pad_mask=True),
        backbone=BACKBONE,
        panoptic_head=head,
        panoptic_fusion_head=dict(
            type='MaskFormerFusionHead', num_things_classes=THINGS, num_stuff_classes=stuff
        ),
        train_cfg=train_cfg,
        test_cfg=dict(
            **tasks, max_per_image=10, iou_thr=0.8, filter_low_score=False, object_mask_thr=0.0
        ),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET_MODELS.build(config)


def ours(stuff=STUFF, **changes) -> ConfigDict:
    head = head_config(**changes)
    head.type = 'DetectionHead'
    head.in_channels = [4, 8, 16, 32]
    del head['num_classes']
    return head


def theirs(stuff=STUFF) -> ConfigDict:
    head = head_config('mask2former')
    head.type = 'mmdet.Mask2FormerHead'
    head.in_channels = [4, 8, 16, 32]
    head.strides = [4, 8, 16, 32]
    head.loss_cls.class_weight = [1.0] * (THINGS + stuff) + [0.1]
    del head['num_classes']
    return head


def images(batch=2, stuff=STUFF) -> list[DetDataSample]:
    """Samples with random instances and, for panoptic training, a label map."""
    generator = torch.Generator().manual_seed(7)
    samples = []
    for count in (3, 1)[:batch]:
        masks = torch.rand(count, 8, 12, generator=generator) < 0.3
        masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2).numpy().astype('uint8')
        labels = torch.randint(0, THINGS, (count,), generator=generator)
        size = dict(img_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, pad_shape=SIZE)
        sample = DetDataSample(metainfo=size)
        sample.gt_instances = InstanceData(
            labels=labels, masks=BitmapMasks(masks, *SIZE), bboxes=torch.zeros(count, 4)
        )
        label_map = torch.randint(0, THINGS + stuff, (1, 8, 12), generator=generator)
        label_map = label_map.repeat_interleave(8, 1).repeat_interleave(8, 2)
        label_map[:, :8] = 255
        sample.gt_sem_seg = PixelData(sem_seg=label_map)
        samples.append(sample)
    return samples


@pytest.mark.parametrize('mask_pilot', [None, dict()], ids=['', 'piloted'])
@pytest.mark.parametrize('stuff', [STUFF, 0], ids=['panoptic', 'instances'])
def test_mmdetections_detector_trains_and_predicts(stuff, mask_pilot):
    torch.manual_seed(0)
    model = detector(ours(mask_pilot=mask_pilot), stuff)
    model.init_weights()
    torch.nn.init.normal_(model.panoptic_head.cls_embed.weight)
    inputs = torch.randn(2, 3, *SIZE)
    losses = model.train()(inputs, images(stuff=stuff), mode='loss')
    assert len(losses) == (14 if mask_pilot is None else 14 + 13) * 3
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []

    with torch.no_grad():
        results = model.eval()(inputs, images(stuff=stuff), mode='predict')
    for result in results:
        assert result.pred_instances.masks.shape[1:] == SIZE
        assert len(result.pred_instances.labels) > 0
        assert result.pred_instances.labels.max() < THINGS
        if stuff:
            panoptic = result.pred_panoptic_seg.sem_seg
            assert panoptic.shape == (1, *SIZE)
            # MMDetection marks pixels of nobody with the number of classes.
            assert (panoptic % 1000).max() <= THINGS + STUFF


@pytest.fixture(scope='module')
def heads():
    """Ours in Mask2Former's configuration and MMDetection's, with the same weights."""
    torch.manual_seed(0)
    models = [detector(ours(**MASK2FORMER)), detector(theirs())]
    stock = models[1].panoptic_head
    stock.init_weights()
    for name, param in stock.named_parameters():
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(param)
    torch.nn.init.normal_(stock.mask_embed[-1].weight, std=0.5)
    models[0].panoptic_head.load_state_dict(stock.state_dict())
    return [model.panoptic_head for model in models]


def maps(dtype) -> list[Tensor]:
    return feature_maps(*SIZE, dtype=dtype, channels=[4, 8, 16, 32])


def test_logits_and_masks_are_those_of_mmdetections_head(heads):
    x = maps(torch.float64)
    with torch.no_grad():
        for got, expected in zip(*(head.double()(x, None) for head in heads), strict=True):
            assert len(got) == len(expected) == 10
            torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize('stuff', [STUFF, 0], ids=['panoptic', 'instances'])
def test_losses_are_those_of_mmdetections_head(heads, stuff, monkeypatch):
    for head in heads:
        monkeypatch.setattr(head, 'num_stuff_classes', stuff)
    samples = images(stuff=stuff)
    if not stuff:
        for sample in samples:
            del sample.gt_sem_seg
    ours, stock = (head.float() for head in heads)
    x, losses = maps(torch.float32), []
    # The same predictions: which of two points is less certain is left to a mask's last bit.
    class_logits, masks = stock(x, None)
    predictions = torch.stack(class_logits), MaskTensors(masks)
    monkeypatch.setattr(ours, '_predictions', lambda *_: predictions)
    for head in (ours, stock):
        torch.manual_seed(3)
        losses.append(head.loss(x, samples))
    assert losses[0].keys() == losses[1].keys()
    for name, expected in losses[1].items():
        torch.testing.assert_close(losses[0][name], expected, rtol=1e-5, atol=0, msg=name)


def test_losses_from_maps_are_those_of_mmdetections_head(heads):
    """From end to end; rounding may change which of two points is the less certain one."""
    losses = []
    for head in heads:
        torch.manual_seed(3)
        losses.append(head.float().loss(maps(torch.float32), images()))
    for name, expected in losses[1].items():
        torch.testing.assert_close(losses[0][name], expected, rtol=1e-4, atol=0, msg=name)


@register
class HalfwayPositionalQuery(PositionalQuery):
    """A kind of query that the package does not know: B, and B plus what the layer looked at."""

    def __init__(self, embed_dims):
        super().__init__()
        self.seen = []

    def first(self, view):
        return view.query_embed

    def next(self, view):
        self.seen.append((view.focus is None, view.level.size))
        if view.focus is None:
            return view.query_pos
        assert view.focus.shape == (*view.query_embed.shape[:2], view.level.key.shape[1])
        return view.query_embed + view.focus @ view.level.value


def test_a_new_kind_of_query_is_one_class():
    head = build_head(head_config(positional_query=dict(type='HalfwayPositionalQuery')))
    class_logits, _ = head(feature_maps(64, 96))
    levels = [(2, 3), (4, 6), (8, 12), (16, 24)]
    # high-resolution attention, on the last level, reports no focus
    expected = [(level == 3, levels[level]) for level in [0, 1, 2, 3] * 3]
    assert head.positional_query.seen == expected
    other = build_head(head_config(positional_query=dict(type='LearnedPositionalQuery')))
    assert not torch.allclose(class_logits[-1], other(feature_maps(64, 96))[0][-1])


@register
class NoQuery(torch.nn.Module):
    """A module without the two questions."""

    def __init__(self, embed_dims):
        super().__init__()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'pixel_decoder.type': 'mmdet.MSDeformAttnPixelDecoder'},
            "pixel_decoder.type must be FASegPixelDecoder, got 'mmdet.MSDeformAttnPixelDecoder', "
            'which makes no positional encodings',
        ),
        (dict(positional_query=dict(type='NoQuery')), r'first\(\) and next\(\), got NoQuery'),
    ],
)
def test_parts_with_another_interface_are_refused_at_once(changes, message):
    with pytest.raises(TypeError, match=message):
        build_head(head_config(**changes))
