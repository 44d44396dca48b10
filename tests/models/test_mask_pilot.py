"""Mask-piloted training: what it promises about targets, and that it changes nothing else."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope

from mmseg_faseg.models.decoders import transformer_decoder
from mmseg_faseg.models.losses import Targets, from_label_maps
from mmseg_faseg.models.losses.masks import MaskTensors
from mmseg_faseg.models.losses.matching import Matches
from mmseg_faseg.models.losses.points import LossPoints
from mmseg_faseg.models.mask_pilot import MaskPilot, TargetMasks
from tests.helpers.losses import LAYERS, POINTS, build_losses, predictions_of, targets_of
from tests.helpers.small_head import (
    CLASSES,
    WIDTH,
    build_head,
    feature_maps,
    head_config,
    samples,
)

SIZE = (64, 96)
NO_NOISE = dict(label_noise=0.0, mask_noise=0.0)
MASK2FORMER = {
    'num_transformer_feat_level': 3,
    'transformer_decoder.num_layers': 9,
    'positional_encoding': dict(
        type='mmdet.SinePositionalEncoding', num_feats=WIDTH // 2, normalize=True
    ),
    'positional_query': dict(type='LearnedPositionalQuery'),
    'high_res_attn': None,
    'mask_threshold': 0.5,
}
SETTINGS = {
    'FASeg': {},
    'Mask2Former': MASK2FORMER,
    'anchors': dict(positional_query=dict(type='AnchorPositionalQuery'), high_res_attn=None),
}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def piloted(mask_pilot=None, **changes):
    return build_head(head_config(mask_pilot=mask_pilot or dict(), **changes)).train()


def label_maps(*shown, size=SIZE):
    """Label maps in which an image shows these classes, in stripes; 255 where it shows none."""
    maps = torch.full((len(shown), *size), 255)
    for label_map, classes in zip(maps, shown, strict=True):
        for i, label in enumerate(classes):
            label_map[i * size[0] // len(classes) : (i + 1) * size[0] // len(classes)] = label
    return maps


def losses_of(head, labels, x=None, seed=0):
    torch.manual_seed(seed)
    return head.loss(x or feature_maps(*SIZE), samples(labels), None)


def split(losses):
    pilot = {name: loss for name, loss in losses.items() if name.startswith('pilot.')}
    return {name: loss for name, loss in losses.items() if name not in pilot}, pilot


@pytest.mark.parametrize('changes', SETTINGS.values(), ids=SETTINGS.keys())
def test_the_other_queries_are_not_touched(changes):
    head = piloted(**changes)
    without = build_head(head_config(**changes)).train()  # one seed gives both the same weights
    labels = label_maps([0, 1, 3], [2])
    got, pilot = split(losses_of(head, labels))
    expected = losses_of(without, labels)
    assert len(pilot) == 3 * head.num_transformer_decoder_layers
    assert list(got) == list(expected)
    for name, loss in expected.items():
        assert torch.equal(got[name], loss), name
    x = feature_maps(*SIZE)
    with torch.no_grad():
        for mine, other in zip(head.eval()(x), without.eval()(x), strict=True):
            assert torch.equal(torch.stack(mine), torch.stack(other))


def test_no_target_leaks_into_the_other_queries():
    head = piloted()
    others, _ = split(losses_of(head, label_maps([0, 1, 3], [2])))
    parameters = list(head.mask_pilot.parameters())
    gradients = torch.autograd.grad(sum(others.values()), parameters, allow_unused=True)
    assert gradients == (None, None)


@pytest.mark.parametrize('changes', SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize(
    'shown', [[[0, 1], [2, 3, 4]], [[], [1, 2]], [[], []]], ids=['all', 'one empty', 'all empty']
)
def test_every_parameter_has_a_gradient(changes, shown):
    """DistributedDataParallel waits for all of them, in every iteration."""
    head = piloted(**changes)
    losses = losses_of(head, label_maps(*shown))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    without = [n for n, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    if not any(shown):
        _, pilot = split(losses)
        assert all(loss == 0 for loss in pilot.values())


def pilot_predictions(head, x, labels, monkeypatch):
    """Class logits (L, K + 1) of the query of each target, by image and class."""
    found = {}

    def keep(class_logits, masks, targets, matches):
        for i, (image, target) in enumerate(zip(matches.images, matches.targets[0], strict=True)):
            key = int(image), int(targets.labels[target])
            assert key not in found
            found[key] = class_logits[:, image, matches.queries[0, i]].detach()
        return {}

    monkeypatch.setattr(head, 'losses_of_matched', keep)
    losses_of(head, labels, x)
    return found


@pytest.mark.parametrize('changes', SETTINGS.values(), ids=SETTINGS.keys())
def test_a_batch_gives_what_its_images_give(changes, monkeypatch):
    """Places without a target influence nobody."""
    head = piloted(mask_pilot=NO_NOISE, **changes)
    x = feature_maps(*SIZE)
    shown = [[0, 1, 2, 3, 4], [4, 0, 3]]
    together = pilot_predictions(head, x, label_maps(*shown), monkeypatch)
    assert together.keys() == {(i, label) for i, classes in enumerate(shown) for label in classes}
    for image, classes in enumerate(shown):
        alone = pilot_predictions(
            head, [f[image : image + 1] for f in x], label_maps(classes), monkeypatch
        )
        for label in classes:
            torch.testing.assert_close(
                together[image, label], alone[0, label], rtol=0, atol=1e-9, msg=f'{image} {label}'
            )


def test_queries_attend_within_their_targets_mask(monkeypatch):
    head = piloted(mask_pilot=NO_NOISE, high_res_attn=None)
    seen = []
    run = transformer_decoder.FASegDecoderLayer.forward

    def spy(layer, query, self_pos, cross_pos, key, value, attn_mask, *rest):
        seen.append(attn_mask)
        return run(layer, query, self_pos, cross_pos, key, value, attn_mask, *rest)

    monkeypatch.setattr(transformer_decoder.FASegDecoderLayer, 'forward', spy)
    labels = label_maps([0, 1], [2])
    targets = from_label_maps(samples(labels), 255)
    losses_of(head, labels)
    num_layers = head.num_transformer_decoder_layers
    for layer, mask in enumerate(seen[num_layers:]):
        stride = 32 // 2 ** (layer % 4)
        inside = F.max_pool2d(targets.masks[:, None].double(), stride)[:, 0].flatten(1) > 0
        allowed = ~mask
        assert {tuple(row.tolist()) for row in allowed[0]} == {
            tuple(row.tolist()) for row in inside[:2]
        }
        assert inside[2].tolist() in allowed[1].tolist()  # and a place without a target


def test_losses_are_each_queries_with_its_target(monkeypatch):
    """Against the formulas, at the same points."""
    head = build_losses()
    counts = [3, 0, 2]
    classes, masks = (x.detach().double() for x in predictions_of(len(counts)))
    targets = targets_of(counts)
    chosen = torch.rand(5, POINTS, 2, dtype=torch.float64)
    monkeypatch.setattr(LossPoints, 'choose', lambda self, logits, generator: chosen)
    images, queries = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([4, 0, 2, 1, 5])
    which = torch.tensor([2, 0, 1, 4, 3])
    matches = Matches(images, counts, queries.expand(LAYERS, -1), which.expand(LAYERS, -1))
    losses = head.losses_of_matched(classes, MaskTensors(list(masks)), targets, matches)
    assert len(losses) == 3 * LAYERS

    def sample(maps):
        grid = 2 * chosen[:, :, None] - 1
        return F.grid_sample(maps[:, None].double(), grid, align_corners=False)[:, 0, :, 0]

    truth = sample(targets.masks[which])
    for layer in range(LAYERS):
        name = '' if layer == LAYERS - 1 else f'd{layer}.'
        logits = sample(masks[layer][images, queries])
        cls = F.cross_entropy(classes[layer][images, queries], targets.labels[which])
        bce = F.binary_cross_entropy_with_logits(logits, truth, reduction='none').mean(1).sum()
        overlap = 2 * (logits.sigmoid() * truth).sum(1) + 1
        dice = (1 - overlap / (logits.sigmoid().sum(1) + truth.sum(1) + 1)).sum()
        num_masks = 6  # an image without targets counts as one
        expected = dict(cls=2 * cls, mask=5 * bce / num_masks, dice=5 * dice / num_masks)
        for kind, value in expected.items():
            loss = losses[f'{name}loss_{kind}'].sum()
            torch.testing.assert_close(loss, value, rtol=1e-6, atol=0)


def pilot_of(**kwargs):
    return MaskPilot(CLASSES, WIDTH, **kwargs)


def many_targets(counts):
    targets = targets_of(counts, num_classes=CLASSES)
    return Targets(targets.labels, targets.masks.bool(), targets.counts, targets.img_metas)


def test_more_targets_than_places():
    targets = many_targets([9, 2, 0])
    drawn = set()
    for seed in range(20):
        torch.manual_seed(seed)
        queries = pilot_of(max_targets=4)(targets, (7, 9), 2)
        assert queries.query.shape == (3, 4, WIDTH)
        assert queries.matches.counts == [4, 2, 0]
        assert queries.matches.images.tolist() == [0] * 4 + [1] * 2
        first, second = queries.matches.targets
        assert torch.equal(first, second)
        assert len(set(first.tolist())) == 6 and set(first[4:].tolist()) == {9, 10}
        drawn |= set(first[:4].tolist())
    assert drawn == set(range(9))


def test_label_noise():
    targets = many_targets([400])
    pilot = pilot_of(label_noise=0.25, mask_noise=0.0, max_targets=400)
    torch.manual_seed(0)
    queries = pilot(targets, (7, 9), 1)
    own = pilot.query_feat(targets.labels[queries.matches.targets[0]])
    wrong = (queries.query[0] != own).all(1)
    assert torch.equal((queries.query[0] == own).all(1), ~wrong)
    assert 70 <= wrong.sum() <= 130
    # A query's position is of the class that it was told, right or wrong.
    told = (queries.query[0][:, None] == pilot.query_feat.weight).all(2).long().argmax(1)
    assert torch.equal(queries.query_embed[0], pilot.query_embed(told))
    pilot.label_noise = 1.0
    queries = pilot(targets, (7, 9), 1)
    own = pilot.query_feat(targets.labels[queries.matches.targets[0]])
    assert (queries.query[0] != own).all()


def test_one_class_has_no_other():
    targets = targets_of([3], num_classes=1)
    queries = MaskPilot(1, WIDTH, label_noise=1.0)(targets, (7, 9), 1)
    assert queries.query.shape == (1, 3, WIDTH)


def test_mask_noise_is_a_share_of_the_mask():
    inside = torch.zeros(1, 2, 64, 64)
    inside[:, 0, :16] = 1  # a quarter
    inside[:, 1, :4, :4] = 1  # 16 of 4096
    torch.manual_seed(0)
    masks = TargetMasks(inside, 0.2)
    wrong = torch.stack([(masks.guides(None, (64, 64)) > 0) != (inside > 0) for _ in range(50)])
    shares = wrong.float().mean((0, 1, 3, 4)) / inside.mean((0, 2, 3))
    torch.testing.assert_close(shares, torch.full((2,), 0.2), rtol=0.15, atol=0)
    assert wrong[:, 0, 0, 20:].any() and wrong[:, 0, 0, :16].any()  # anywhere
    assert not torch.equal(wrong[0], wrong[1])  # fresh in each layer
    assert torch.equal(masks.masks(None) > 0, inside > 0)
    assert torch.equal(TargetMasks(inside, 0.0).guides(None, (64, 64)) > 0, inside > 0)


def test_a_thin_target_is_not_lost_on_a_coarse_level():
    masks = torch.zeros(1, 64, 96, dtype=torch.bool)
    masks[0, 20:50, 33] = True
    targets = Targets.of([torch.tensor([2])], [masks], [{}])
    guide = pilot_of(**NO_NOISE)(targets, (16, 24), 1).guide
    assert (guide.guides(None, (2, 3))[0, 0] > 0).tolist() == [[False, True, False]] * 2


def test_a_target_without_a_pixel_gets_no_query():
    """As an instance that was resized away."""
    targets = many_targets([3, 2, 1])
    targets.masks[[1, 5]] = False
    queries = pilot_of()(targets, (7, 9), 2)
    assert queries.matches.counts == [2, 1 + 1, 0]
    assert sorted(queries.matches.targets[1].tolist()) == [0, 2, 3, 4]
    assert queries.present.tolist() == [[True, True], [True, True], [False, False]]


@pytest.mark.parametrize('name', ['label_noise', 'mask_noise'])
@pytest.mark.parametrize('value', [-0.1, 1.5])
def test_a_share_lies_between_0_and_1(name, value):
    with pytest.raises(ValueError, match=rf'mask_pilot\.{name} must lie in \[0, 1\], got {value}'):
        pilot_of(**{name: value})


def test_there_is_at_least_one_place():
    with pytest.raises(ValueError, match=r'mask_pilot\.max_targets must be at least 1, got 0'):
        pilot_of(max_targets=0)
