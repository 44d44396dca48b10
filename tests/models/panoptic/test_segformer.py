"""Panoptic SegFormer trains every part of itself, by what its losses say, and predicts segments."""

import re
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcywh
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

from mmseg_faseg.engine.checks.kinds import kind_of
from mmseg_faseg.errors import UserError
from mmseg_faseg.models.losses import from_panoptic
from mmseg_faseg.models.losses.segformer import SegFormerLosses
from mmseg_faseg.models.merging.panoptic import Candidates, merging
from mmseg_faseg.models.merging.rows import padded_rows
from tests.helpers.coco import Coco
from tests.helpers.configs import load
from tests.helpers.small_detector import SIZE, STUFF, THINGS, images

WIDTH = 32
PER_THING = 3  # queries that get masks


def build(**test_cfg):
    """The configured model, shrunk."""
    cfg = load('_base_/detectors/methods/panoptic-segformer').model
    attention = dict(embed_dims=WIDTH, num_heads=4)
    layers = [cfg.encoder.layer_cfg, cfg.decoder.layer_cfg]
    for layer in layers:
        for name, part in layer.items():
            part.update(attention if name != 'ffn_cfg' else dict(embed_dims=WIDTH))
    cfg.encoder.num_layers = cfg.decoder.num_layers = 2
    cfg.update(num_queries=20)
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
    cfg.test_cfg.update(max_per_img=12, **test_cfg)
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
    # Classes learn from what is not there; the mask decoder's of things have no weight at all.
    nothing = {
        'things': r'things\..*|(d0\.)?loss_(bbox|iou)',
        'stuff': r'stuff\..*loss_mask|things\..*loss_cls',
        'both': r'things\..*|(d0\.)?loss_(bbox|iou)|stuff\..*loss_mask',
    }
    assert {name for name, loss in losses.items() if loss == 0} == {
        name for name in losses if re.fullmatch(nothing[missing], name)
    }


@pytest.fixture
def watched(monkeypatch):
    """What the losses of masks are computed from."""
    seen = {}
    run = SegFormerLosses.forward

    def forward(self, location, chosen, things, stuff, samples):
        seen.update(location=location, chosen=chosen, things=things, stuff=stuff)
        return run(self, location, chosen, things, stuff, samples)

    monkeypatch.setattr(SegFormerLosses, 'forward', forward)
    return seen


def dice_losses(found, wanted):
    """With squared denominators, of masks (h, w) at twice their size; (N, N) of all pairs."""
    size = [2 * length for length in found[0].shape]
    found, wanted = (
        [F.interpolate(mask[None, None].float(), size, mode='bilinear') for mask in masks]
        for masks in (found, wanted)
    )
    return torch.stack(
        [
            torch.stack(
                [1 - 2 * (a * b).sum() / ((a**2).sum() + (b**2).sum() + 2e-6) for b in wanted]
            )
            for a in found
        ]
    )


def test_losses_are_those_of_the_plain_formula(watched):
    """Stuff by its class, things by their matches; each kind weighs as many as there are."""
    model, samples = build(), given()
    label_map = samples[1].gt_sem_seg.sem_seg
    label_map[label_map == THINGS] = 255  # a class of stuff that one image does not show
    losses = losses_of(model, samples)
    targets = from_panoptic(samples, THINGS, STUFF)
    share = (targets.labels < THINGS).float().mean()
    for name, loss in watched['location'].items():
        torch.testing.assert_close(losses[name], loss * share)
    of_stuff, of_things = [], []
    for image, (labels, masks) in enumerate(targets.by_image()):
        is_stuff = labels >= THINGS
        stuff = watched['stuff'].masks[-1][image][labels[is_stuff] - THINGS]
        of_stuff.append(dice_losses(stuff, masks[is_stuff]).diagonal())
        count = int((~is_stuff).sum())
        things = watched['things'].masks[-1][image][: PER_THING * count]
        pairs = dice_losses(things, masks[:count])
        found = watched['chosen'].predictions[image]
        rows, columns = best_pairs(found, labels[:count], pairs, samples[image])
        assert len(rows) == count
        of_things.append(pairs[rows, columns])
    shown = torch.zeros(2, STUFF)
    for image, (labels, _) in enumerate(targets.by_image()):
        shown[image, labels[labels >= THINGS] - THINGS] = 1
    assert 0 < shown.sum() < shown.numel()
    for layer, logits in enumerate(watched['stuff'].class_logits):
        probs = logits.sigmoid()
        focal = 0.25 * shown * (1 - probs) ** 2 * -probs.log()
        focal = focal + 0.75 * (1 - shown) * probs**2 * -(1 - probs).log()
        name = 'stuff.loss_cls' if layer == 2 else f'stuff.d{layer}.loss_cls'
        expected = 4 * focal.sum() / shown.sum() * (1 - share)
        torch.testing.assert_close(losses[name], expected, rtol=1e-5, atol=0)
    for name, dice, weight in (
        ('stuff.loss_mask', of_stuff, 1 - share), ('things.loss_mask', of_things, share)
    ):  # fmt: skip
        expected = 2 * torch.cat(dice).mean() * weight
        torch.testing.assert_close(losses[name], expected, rtol=1e-5, atol=0)


def best_pairs(found, labels, dice, sample):
    """Which query stands for which thing when masks count: focal 4, L1 5, GIoU 2 and dice 2."""
    height, width = sample.img_shape
    boxes, scale = sample.gt_instances.bboxes, torch.tensor([width, height, width, height])
    own, wanted = (bbox_xyxy_to_cxcywh(xyxy / scale) for xyxy in (found.bboxes, boxes))
    probs = found.scores.sigmoid()[:, labels]
    focal = 0.25 * (1 - probs) ** 2 * -(probs + 1e-12).log()
    focal = focal - 0.75 * probs**2 * -(1 - probs + 1e-12).log()
    giou = bbox_overlaps(found.bboxes, boxes, mode='giou')
    cost = 4 * focal + 5 * torch.cdist(own, wanted, p=1) - 2 * giou + 2 * dice
    return linear_sum_assignment(cost.detach().numpy())


def test_masks_have_a_word_in_what_a_query_stands_for(watched):
    """Boxes and classes alike, the masks of an image's things are swapped: so are the things."""
    model, samples = build(), given()
    losses_of(model, samples)
    losses, found = model.bbox_head.mask_losses, watched['chosen'].predictions[0][:4]
    for name in ('scores', 'bboxes'):
        setattr(found, name, getattr(found, name)[:1].expand(4, -1))
    targets = from_panoptic(samples, THINGS, STUFF)
    wanted = samples[0].gt_instances.clone()
    wanted.masks = F.interpolate(targets.masks[:3, None].float(), scale_factor=1 / 4)[:, 0]
    for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        found.masks = torch.cat([torch.zeros_like(wanted.masks[:1]), wanted.masks[order]])
        assert losses._match(found, wanted, targets.img_metas[0]).tolist() == [-1, *order]


@pytest.mark.parametrize(('things', 'expected'), [(0, 0), (1, 3), (3, 9), (40, 80), (150, 150)])
def test_queries_that_get_masks(things, expected):
    """Three of a thing where there are few, the best first; none twice."""
    model = build()
    generator = torch.Generator().manual_seed(0)
    corners = 64 * torch.rand(things, 2, 2, generator=generator).sort(1).values
    instances = InstanceData(bboxes=corners.flatten(1), labels=torch.zeros(things, dtype=int))
    sample = DetDataSample(gt_instances=instances, metainfo=dict(img_shape=(64, 64)))
    logits = torch.randn(1, 300, THINGS, generator=generator)
    boxes = torch.rand(1, 300, 4, generator=generator)
    head = model.bbox_head
    (queries,) = head.mask_losses.choose(head.assigner, logits, boxes, [sample]).queries.tolist()
    assert len(queries) == len(set(queries)) == expected
    height_width = torch.tensor([64.0] * 4)
    found = InstanceData(scores=logits[0], bboxes=bbox_cxcywh_to_xyxy(boxes[0]) * height_width)
    best = head.assigner.assign(found, instances, sample.metainfo).gt_inds.nonzero()[:, 0]
    assert set(queries[:things]) == set(best.tolist())


@pytest.fixture
def predicting():
    """A model in float64, images, samples with padding, and what the location decoder makes."""
    model = build().double().eval()
    generator = torch.Generator().manual_seed(0)
    for branch in (*model.bbox_head.cls_branches, *model.bbox_head.stuff_cls_branches):
        torch.nn.init.normal_(branch.weight, generator=generator)
    samples = given()
    for sample, shape in zip(samples, ((60, 90), SIZE), strict=True):  # one has padding
        sample.set_metainfo(dict(img_shape=shape, ori_shape=(120, 180)))
    inputs = torch.randn(2, 3, *SIZE, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        decoded = model.forward_transformer(model.extract_feat(inputs), samples)
    return model, inputs, samples, decoded


def test_the_most_probable_things_and_all_stuff_get_masks(predicting):
    model, _, _, decoded = predicting
    head, memory = model.bbox_head, decoded['memory'].first(3)
    assert memory.sizes == [(8, 12), (4, 6), (2, 3)]
    with torch.no_grad():
        found = head.predict_segments(**decoded)
        classes, boxes = head(decoded['hidden_states'], decoded['references'])
        query, query_pos = head.stuff_embedding.weight.expand(2, -1, -1).chunk(2, -1)
        stuff, stuff_masks = head.stuff_decoder(query, memory.tokens, memory.sizes, query_pos)
        stuff_scores = head.stuff_cls_branches[-1](stuff[-1]).sigmoid()[..., 0]
        for image in range(2):
            pairs = sorted(
                ((float(p), q, c) for q, row in enumerate(classes[-1, image].sigmoid())
                 for c, p in enumerate(row)), reverse=True
            )[:12]  # fmt: skip
            for place, (score, number, label) in enumerate(pairs):
                assert found.scores[image, place].item() == pytest.approx(score)
                assert found.labels[image, place] == label
                assert torch.equal(found.boxes[image, place], boxes[-1, image, number])
                own = decoded['hidden_states'][-1, image, number][None, None]
                _, masks = head.things_decoder(own, memory.tokens[[image]], memory.sizes)
                torch.testing.assert_close(found.masks[image, place], masks[-1][0, 0])
            assert found.labels[image, 12:].tolist() == [THINGS, THINGS + 1]
            torch.testing.assert_close(found.scores[image, 12:], stuff_scores[image])
            torch.testing.assert_close(found.masks[image, 12:], stuff_masks[-1][image])


@pytest.mark.parametrize('kind', ['mask-wise', 'argmax'])
def test_predicts_segments(predicting, kind):
    """Masks have passed a ReLU: more than 0.5 is inside, and their values are how certain."""
    model, inputs, samples, decoded = predicting
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        expected = model.bbox_head.predict_segments(**decoded)
    masks = 1.8 * torch.rand(2, 14, 8, 12, generator=generator, dtype=torch.float64) - 0.7
    expected.masks = masks.relu()
    model.bbox_head.predict_segments = lambda **_: expected
    thresholds = dict(quality_thr=0.0, overlap_thr=0.5)
    if kind == 'argmax':
        thresholds = dict(object_mask_thr=0.0, iou_thr=0.1, filter_low_score=True)
    model.test_cfg = dict(max_per_img=12, instance_on=True, merging=kind, **thresholds)
    with torch.no_grad():
        results = model(inputs, samples, mode='predict')
    for image, result in enumerate(results):
        masks, shape = expected.masks[[image]], (8, 12)
        if image == 0:
            shape = SIZE
            masks = F.interpolate(masks, SIZE, mode='bilinear')[..., :60, :90]
        masks = F.interpolate(masks, (120, 180), mode='bilinear')[0]
        inside = masks > 0.5
        assert 0.05 < inside[:12].double().mean() < 0.95
        assert (masks > 1).any()
        objects = result.pred_instances
        assert torch.equal(objects.masks, inside[:12])
        certainty = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1)
        torch.testing.assert_close(objects.scores, (expected.scores[image] * certainty**2)[:12])
        corners = bbox_cxcywh_to_xyxy(expected.boxes[image]).clamp(0, 1)
        corners = corners * torch.tensor([180, 120, 180, 120])
        torch.testing.assert_close(objects.bboxes, corners)
        meta = dict(img_shape=(shape, (60, 90))[image == 0], ori_shape=(120, 180))
        rows = padded_rows(expected.masks[image], shape, meta, rescale=True)
        candidates = Candidates(
            expected.labels[image], expected.scores[image], THINGS, THINGS + STUFF, lambda x: x
        )
        segments = merging(model.test_cfg, THINGS, STUFF)(rows, candidates)
        assert len(segments.unique()) > 2
        assert torch.equal(result.pred_panoptic_seg.sem_seg, segments)


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match="merging must be 'argmax' or 'mask-wise'"):
        build(merging='all')


def test_weights_that_are_not_finite():
    weights = build().state_dict()
    weights['bbox_head.stuff_embedding.weight'][0] = torch.nan
    with pytest.raises(UserError, match='loaded into PanopticSegFormer are not finite'):
        build().load_state_dict(weights)


@pytest.mark.parametrize(
    ('part', 'what'),
    [
        ('cls_branches.1.bias', 'class logits are not finite in prediction 1'),
        ('reg_branches.1.4.bias', 'boxes are not finite in prediction 1'),
        ('things_decoder.last_attn.mask_proj.bias', 'masks of things are not finite'),
    ],
)
def test_predictions_that_are_not_finite(part, what):
    """Nothing is matched with them; the hook that looks for such things learns the images."""
    model, samples = build(), given()
    for name, sample in zip('ab', samples, strict=True):
        sample.set_metainfo(dict(img_path=f'{name}.png'))
    dict(model.bbox_head.named_parameters())[part].data[0] = torch.nan
    with pytest.raises(FloatingPointError, match=f'a.png, b.png: {what}'):
        losses_of(model, samples)
    model.bbox_head.mask_losses.faults = faults = []
    losses_of(model, samples)
    assert any(what in fault for fault in faults)


def test_the_check_of_data_knows_its_numbers():
    _, expected = kind_of(build())
    assert (expected.num_things, expected.num_stuff) == (THINGS, STUFF)
    assert (expected.num_queries, expected.with_queries, expected.head) == (20, THINGS, 'model')


@pytest.mark.parametrize('what', ['nothing', 'things', 'stuff', 'crowd'])
def test_every_part_learns_from_unusual_images(what, tmp_path):
    """Without objects, without stuff, without things, with a crowd in place of an object."""
    coco = Coco(tmp_path, panoptic=True)
    coco.content['categories'].insert(2, dict(id=8, name='cow', isthing=1))
    coco.content['categories'].append(dict(id=91, name='sky', isthing=0))
    coco.change(what)
    dataset = coco.dataset(metainfo=dict(classes=('cat', 'dog', 'cow', 'grass', 'sky')))
    model = build().train()
    model.data_preprocessor.pad_seg, model.data_preprocessor.seg_pad_value = True, 255
    data = model.data_preprocessor(pseudo_collate([dataset[0]]), True)
    assert len(data['data_samples'][0].gt_instances) == dict(things=2, crowd=1).get(what, 0)
    sum(model(**data, mode='loss').values()).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in grads.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in grads.values())
