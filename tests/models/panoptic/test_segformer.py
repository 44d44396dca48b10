"""Panoptic SegFormer trains every part of itself, by what its losses say, and predicts segments."""

import re
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from mmseg_faseg.models.losses import from_panoptic
from tests.helpers.configs import load
from tests.helpers.small_detector import SIZE, STUFF, THINGS, images

WIDTH = 32


def build(**test_cfg):
    """The configured model, shrunk."""
    cfg = load('_base_/detectors/methods/panoptic-segformer').model
    attention = dict(embed_dims=WIDTH, num_heads=4)
    layers = [cfg.encoder.layer_cfg, cfg.decoder.layer_cfg]
    for layer in layers:
        for name, part in layer.items():
            part.update(attention if name != 'ffn_cfg' else dict(embed_dims=WIDTH))
    cfg.encoder.num_layers = cfg.decoder.num_layers = 2
    cfg.update(num_queries=10)
    cfg.neck.update(
        in_channels=[8, 16, 32], out_channels=WIDTH, norm_cfg=dict(type='GN', num_groups=4)
    )
    cfg.positional_encoding.num_feats = WIDTH // 2
    cfg.backbone = dict(
        type='ResNet',
        depth=18,
        base_channels=4,
        out_indices=(1, 2, 3),
        norm_cfg=dict(type='BN'),
        norm_eval=True,
        style='pytorch',
    )
    cfg.bbox_head.update(
        embed_dims=WIDTH,
        num_things_classes=THINGS,
        num_stuff_classes=STUFF,
        things_decoder=dict(num_layers=2, num_heads=4),
        stuff_decoder=dict(num_layers=3, num_heads=4),
    )
    cfg.test_cfg.update(max_per_img=12)
    for name, value in test_cfg.items():
        cfg.test_cfg.pop(name) if value is None else cfg.test_cfg.update({name: value})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    model.init_weights()
    return model


def given():
    """Samples whose boxes fit their masks."""
    samples = images()
    for sample in samples:
        instances = sample.gt_instances
        instances.bboxes = instances.masks.get_bboxes(dst_type='hbox').tensor
    return samples


def losses_of(model, samples):
    torch.manual_seed(1)
    return model.train()(torch.randn(2, 3, *SIZE), samples, mode='loss')


def test_every_part_learns():
    model = build()
    losses = losses_of(model, given())
    count = Counter(re.sub(r'd\d+\.', '', name) for name in losses)
    assert count == {
        'loss_cls': 2,
        'loss_bbox': 2,
        'loss_iou': 2,
        'things.loss_mask': 3,  # two layers and the final ones
        'things.loss_cls': 2,
        'stuff.loss_mask': 4,
        'stuff.loss_cls': 3,
    }
    assert all(loss < 1 for name, loss in losses.items() if 'loss_mask' in name)  # none is dead
    for name, parameter in model.named_parameters():  # some are 0 at first, for good reasons
        if 'mask_proj' not in name:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
    sum(losses_of(model, given()).values()).backward()
    idle = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    weightless = {n for n, _ in model.named_parameters() if 'things_cls_branches' in n}
    assert idle == weightless  # as in the released code

    model.bbox_head.mask_losses.thing_class_weight = 1.0
    model.zero_grad()
    sum(losses_of(model, given()).values()).backward()
    assert all(p.grad.any() for p in model.bbox_head.things_cls_branches.parameters())


@pytest.mark.parametrize('missing', ['things', 'stuff', 'both'])
def test_images_without_things_or_stuff(missing):
    samples = given()
    for sample in samples:
        if missing != 'stuff':
            sample.gt_instances = sample.gt_instances[:0]
        if missing != 'things':
            sample.gt_sem_seg.sem_seg[:] = 255
    model = build()
    losses = losses_of(model, samples)
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    weightless = {'things': ('things', 'loss', 'd0'), 'stuff': ('stuff',), 'both': ('stuff',)}
    for name, loss in losses.items():
        if name.startswith(weightless[missing]):
            assert loss == 0, name


def test_losses_are_those_of_the_plain_formula():
    """Dice with squared denominators, of masks at twice the size; things weigh as they are many."""
    model, samples = build(), given()
    seen = {}
    losses_class = type(model.bbox_head.mask_losses)
    run = losses_class.forward

    def watched(self, location, matched, things, stuff, given_samples):
        seen.update(matched=matched, things=things, stuff=stuff)
        return run(self, location, matched, things, stuff, given_samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses_class, 'forward', watched)
        losses = losses_of(model, samples)
    targets = from_panoptic(samples, THINGS, STUFF)
    is_thing = targets.labels < THINGS
    final = seen['stuff'].masks[-1]
    size = [2 * length for length in final.shape[-2:]]
    dice = []
    for image, (labels, masks) in enumerate(targets.by_image()):
        for label, mask in zip(labels, masks, strict=True):
            if label < THINGS:
                continue
            own = F.interpolate(final[image, None, None, label - THINGS], size, mode='bilinear')
            wanted = F.interpolate(mask[None, None].float(), size, mode='bilinear')
            squares = (own**2).sum() + (wanted**2).sum()
            dice.append(1 - 2 * (own * wanted).sum() / (squares + 2e-6))
    expected = 2 * torch.stack(dice).mean() * (~is_thing).float().mean()
    torch.testing.assert_close(losses['stuff.loss_mask'], expected, rtol=1e-5, atol=0)

    # Matched once more, no other order of an image's things has a smaller dice loss and box loss.
    assert [len(own) for own in seen['matched'].targets] == [3, 1]
    assert sorted(seen['matched'].targets[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize('merging', ['mask-wise', 'argmax'])
def test_predicts_segments(merging):
    only = ('quality_thr', 'overlap_thr')
    model = build(merging=merging, **{} if merging == 'mask-wise' else dict.fromkeys(only))
    samples = given()
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(60, 90), ori_shape=(120, 180)))
    with torch.no_grad():
        results = model.eval()(torch.randn(2, 3, *SIZE), samples, mode='predict')
    for result in results:
        segments = result.pred_panoptic_seg.sem_seg
        assert segments.shape == (1, 120, 180)
        assert (segments % INSTANCE_OFFSET).max() <= THINGS + STUFF
        objects = result.pred_instances
        assert objects.masks.shape == (12, 120, 180)
        assert objects.bboxes.shape == (12, 4)
        assert objects.labels.max() < THINGS


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match="merging must be 'argmax' or 'mask-wise'"):
        build(merging='all')
