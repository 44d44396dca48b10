"""Batched matching and losses have the values of MMDetection's, prediction by prediction."""

from dataclasses import replace

import pytest
import torch
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmdet.registry import TASK_UTILS

from mmseg_faseg.models.losses import mask_losses, matching
from mmseg_faseg.models.losses.masks import MaskProduct, MaskTensors
from mmseg_faseg.models.losses.matching_costs import pairwise_costs
from mmseg_faseg.models.losses.points import (
    LossPoints,
    PointDraws,
    SharedPoints,
    sample_each,
)
from tests.helpers.live_tensors import LiveTensors
from tests.helpers.losses import (
    LAYERS,
    POINTS,
    QUERIES,
    SIZE,
    build_losses,
    losses_of_masks,
    predictions_of,
    product_of,
    stock_losses,
    targets_of,
)
from tests.helpers.small_head import DEVICES

# Number of targets of each image.
BATCHES = {
    'one image': [3],
    'different numbers': [4, 1, 2],
    'an image without targets': [0, 3],
    'no target at all': [0, 0],
    'more targets than queries': [9, 2],
    'as many as queries': [6, 6],
}


def losses_and_gradients(compute, leaves):
    """Losses, their gradients (of a sum that tells them apart), and the next random number."""
    torch.manual_seed(5)
    losses = compute()
    after = torch.rand(1, device=leaves[0].device)
    total = sum(value.sum() * (1 + i % 5) for i, value in enumerate(losses.values()))
    return losses, torch.autograd.grad(total, leaves), after


def assert_same(got, expected, rtol=1e-5, atol=1e-7):
    losses, gradients, after = got
    assert list(losses) == list(expected[0])
    for name, value in expected[0].items():
        torch.testing.assert_close(losses[name], value, rtol=rtol, atol=0, msg=name)
    for gradient, reference in zip(gradients, expected[1], strict=True):
        torch.testing.assert_close(gradient, reference, rtol=rtol, atol=atol)
    torch.testing.assert_close(after, expected[2], rtol=0, atol=0)


def compare_with_stock(counts, num_classes=11, device='cpu'):
    head = build_losses(num_classes)
    classes, masks = leaves = predictions_of(len(counts), num_classes, device=device)
    targets = targets_of(counts, num_classes, device=device)
    got = losses_and_gradients(lambda: losses_of_masks(head, classes, masks, targets), leaves)
    expected = losses_and_gradients(lambda: stock_losses(head, classes, masks, targets), leaves)
    assert len(got[0]) == 3 * LAYERS
    assert_same(got, expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('num_classes', [11, 1])
@pytest.mark.parametrize('counts', BATCHES.values(), ids=BATCHES.keys())
def test_values_and_gradients_are_mmdetections(counts, num_classes, device):
    compare_with_stock(counts, num_classes, device)


@pytest.mark.parametrize('counts', BATCHES.values(), ids=BATCHES.keys())
def test_product_of_embeddings_and_features_is_as_good_as_masks(counts):
    head = build_losses()
    operands = product_of(len(counts))
    classes = predictions_of(len(counts))[0]
    targets = targets_of(counts)
    product = MaskProduct(*operands)
    leaves = [classes, *operands]
    got = losses_and_gradients(lambda: head.losses_of(classes, product, targets), leaves)
    expected = losses_and_gradients(
        lambda: head.losses_of(classes, MaskTensors(product.tensors()), targets), leaves
    )
    # A feature's gradient sums over all predictions, in another order.
    assert_same(got, expected, rtol=1e-4, atol=1e-5)


def test_parts_of_a_product_are_those_of_its_masks():
    product = MaskProduct(*product_of(3, dtype=torch.float64))
    tensors = MaskTensors(product.tensors())
    points = torch.rand(POINTS, 2, dtype=torch.float64)
    for layer in range(LAYERS):
        for image in range(3):
            got = product.reader(image)(layer, points)
            expected = tensors.reader(image)(layer, points)
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    images, counts = torch.tensor([0, 0, 2]), [2, 0, 1]
    queries = torch.randint(0, QUERIES, (LAYERS, 3))
    for got, expected in zip(
        product.matched(images, counts, queries),
        tensors.matched(images, counts, queries),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_products_are_in_float32_under_autocast():
    operands = [1e3 * x.detach() for x in product_of(2)]
    product = MaskProduct(*operands)
    queries = torch.zeros(LAYERS, 2, dtype=torch.long)

    def parts():
        read = product.reader(0)(0, torch.full((1, 2), 0.5))
        return [read, *product.matched(torch.tensor([0, 1]), [1, 1], queries), *product.tensors()]

    expected = parts()
    with torch.autocast('cpu', torch.bfloat16):
        got = parts()
    assert all(torch.equal(*pair) for pair in zip(got, expected, strict=True))


def test_matching_and_losses_do_not_feel_autocast(monkeypatch):
    head, leaves = build_losses(), predictions_of(2)
    classes, masks = leaves
    costs = []
    to_host = matching.to_host

    def keep(x):
        costs.append(x)
        return to_host(x)

    def compute():
        return losses_of_masks(head, classes, masks, targets_of([4, 2]))

    monkeypatch.setattr(matching, 'to_host', keep)
    expected = losses_and_gradients(compute, leaves)
    with torch.autocast('cpu', torch.bfloat16):
        got = losses_and_gradients(compute, leaves)
    assert torch.equal(*costs)
    assert_same(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_shared_points_are_read_as_grid_sample_does(dtype, tolerance):
    maps = torch.randn(5, *SIZE, dtype=dtype)
    corners = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).clamp(max=1 - 1e-6)
    points = torch.cat([torch.rand(200, 2), corners]).to(dtype)
    shared = SharedPoints(points, SIZE)
    got = shared.sample(maps.flatten(1).t())
    expected = sample_each(maps, points.expand(5, -1, -1)).t()
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance)
    ones = shared.sample(torch.ones(SIZE[0] * SIZE[1], 1, dtype=dtype))[:, 0]
    torch.testing.assert_close(shared.sample_constant().to(dtype), ones)


@pytest.mark.parametrize('naive_dice', [True, False])
def test_costs_are_the_formulas(naive_dice):
    """In float64, with logits that a float32 exponential would not survive."""
    costs = [
        TASK_UTILS.build(dict(type='mmdet.ClassificationCost', weight=2.0)),
        TASK_UTILS.build(dict(type='mmdet.CrossEntropyLossCost', weight=3.0, use_sigmoid=True)),
        TASK_UTILS.build(
            dict(type='mmdet.DiceCost', weight=4.0, pred_act=True, eps=0.5, naive_dice=naive_dice)
        ),
    ]
    x = torch.randn(POINTS, QUERIES, dtype=torch.float64) * 30
    t = torch.rand(POINTS, 4, dtype=torch.float64)
    probs = torch.rand(QUERIES, 4, dtype=torch.float64)
    got = pairwise_costs(costs, probs, x, t)
    power = 1 if naive_dice else 2
    for q in range(QUERIES):
        for n in range(4):
            p = x[:, q].sigmoid()
            # log(1 - sigmoid(x)) is log(sigmoid(-x)).
            log_p, log_not_p = (torch.nn.functional.logsigmoid(y) for y in (x[:, q], -x[:, q]))
            cross_entropy = -(t[:, n] * log_p + (1 - t[:, n]) * log_not_p).mean()
            overlap, total = (p * t[:, n]).sum(), (p**power + t[:, n] ** power).sum()
            dice = 1 - (2 * overlap + 0.5) / (total + 0.5)
            expected = -2 * probs[q, n] + 3 * cross_entropy + 4 * dice
            torch.testing.assert_close(got[q, n], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('counts', BATCHES.values(), ids=BATCHES.keys())
def test_assignments_are_mmdetections(counts, monkeypatch):
    head, (classes, masks) = build_losses(), predictions_of(len(counts))
    arguments = classes, masks, targets_of(counts)
    ours, stock = [], []
    match, assign = matching.match, HungarianAssigner.assign

    def spy_match(*args):
        ours.append(match(*args))
        return ours[-1]

    def spy_assign(self, *args, **kwargs):
        stock.append(assign(self, *args, **kwargs))
        return stock[-1]

    monkeypatch.setattr('mmseg_faseg.models.losses.mask_losses.match', spy_match)
    monkeypatch.setattr(HungarianAssigner, 'assign', spy_assign)
    torch.manual_seed(5)
    losses_of_masks(head, *arguments)
    assert not stock
    torch.manual_seed(5)
    stock_losses(head, *arguments)

    (matches,) = ours
    assert matches.counts == [min(QUERIES, n) for n in counts]
    for index, result in enumerate(stock):
        layer, image = divmod(index, len(counts))
        own = matches.images == image
        expected = torch.zeros(QUERIES, dtype=torch.long)
        first = sum(counts[:image])
        expected[matches.queries[layer, own]] = matches.targets[layer, own] - first + 1
        assert torch.equal(result.gt_inds, expected)


@pytest.mark.parametrize('counts', [[3, 0, 2], [0, 0]])
def test_one_transfer_and_one_assignment_each(counts, monkeypatch):
    calls = dict(to_host=0, linear_sum_assignment=0)

    def count(name):
        original = getattr(matching, name)

        def counted(*args):
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(matching, name, counted)

    count('to_host')
    count('linear_sum_assignment')
    classes, masks = predictions_of(len(counts))
    losses_of_masks(build_losses(), classes, masks, targets_of(counts))
    assert calls == dict(to_host=1, linear_sum_assignment=LAYERS * sum(n > 0 for n in counts))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_matching_waits_for_the_device_only_once(monkeypatch):
    """PyTorch itself reports whatever else would wait."""
    classes, masks = predictions_of(2, device='cuda')
    targets = targets_of([4, 0], device='cuda').to(torch.float32)
    points = torch.rand(LAYERS, 2, POINTS, 2, device='cuda')
    to_host = matching.to_host

    def permitted(x):
        torch.cuda.set_sync_debug_mode('default')
        return to_host(x)

    monkeypatch.setattr(matching, 'to_host', permitted)
    costs = build_losses().assigner.match_costs
    torch.cuda.set_sync_debug_mode('error')
    try:
        matching.match(costs, classes, MaskTensors(list(masks)), targets, points)
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_points_are_drawn_in_mmdetections_order():
    """Known beforehand, whatever will be matched, and drawn again the same."""
    rule = LossPoints(POINTS, 3.0, 0.75)
    torch.manual_seed(7)
    draws = PointDraws.draw(3, 2, 5, rule, torch.device('cpu'))
    after = torch.rand(1)
    torch.manual_seed(7)
    for layer in range(3):
        for image in range(2):
            assert torch.equal(draws.matching[layer, image], torch.rand((1, POINTS, 2))[0])
        candidates, random = rule.draw(5, draws.generator(layer))
        assert torch.equal(candidates, torch.rand(5, 3 * POINTS, 2))
        assert torch.equal(random, torch.rand(5, POINTS // 4, 2))
    assert torch.equal(after, torch.rand(1))


def test_uncertain_points_are_those_nearest_to_the_edge():
    rule = LossPoints(POINTS, 3.0, 0.75)
    masks = torch.randn(2, *SIZE)
    points = rule.choose(masks, torch.Generator().manual_seed(0))
    candidates, random = rule.draw(2, torch.Generator().manual_seed(0))
    assert torch.equal(points[:, 48:], random)
    edge = sample_each(masks, candidates).abs().sort(1).values[:, 47:48]
    assert (sample_each(masks, points[:, :48]).abs() <= edge).all()


def test_masks_that_are_not_matched_are_never_whole():
    """No tensor, backward included, is larger than the matched masks of one image."""
    layers, queries, width, size = 14, 50, 16, (64, 64)
    head = build_losses(num_queries=queries)
    classes = torch.randn(layers, 2, queries, 12, requires_grad=True)
    embeddings = torch.randn(layers, 2, queries, width, requires_grad=True)
    features = torch.randn(2, width, *size, requires_grad=True)
    bias = torch.randn(layers, 2, queries, requires_grad=True)
    counts = [3, 2]
    with LiveTensors() as tensors:
        losses = head.losses_of(
            classes,
            MaskProduct(embeddings, features, bias),
            targets_of(counts, size=size),
        )
        sum(value.sum() for value in losses.values()).backward()
    mask = size[0] * size[1] * 4
    assert tensors.largest <= layers * max(counts) * mask
    assert tensors.peak < layers * len(counts) * queries * mask / 3


UNKNOWN = {
    'costs of other types': [dict(type='mmdet.FocalLossCost', weight=2.0)],
    'costs with other settings': [
        dict(type='mmdet.ClassificationCost', weight=2.0),
        dict(type='mmdet.DiceCost', weight=5.0, pred_act=False),
    ],
}


@pytest.mark.parametrize('costs', UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_costs_take_mmdetections_path(costs, monkeypatch):
    head = build_losses(assigner=dict(type='mmdet.HungarianAssigner', match_costs=costs))
    monkeypatch.delattr('mmseg_faseg.models.losses.mask_losses.match')
    compare_paths(head)


class OtherAssigner(HungarianAssigner):
    """May match in another way."""


class OtherSampler(MaskPseudoSampler):
    """May sample in another way."""


@pytest.mark.parametrize('part', ['assigner', 'sampler'])
def test_unknown_assigners_and_samplers_take_mmdetections_path(part, monkeypatch):
    head = build_losses()
    getattr(head, part).__class__ = dict(assigner=OtherAssigner, sampler=OtherSampler)[part]
    monkeypatch.delattr('mmseg_faseg.models.losses.mask_losses.match')
    compare_paths(head)


def compare_paths(head):
    classes = predictions_of(2)[0]
    product = MaskProduct(*product_of(2))
    leaves = [classes, product.embeddings, product.features, product.bias]
    targets = targets_of([3, 2])
    got = losses_and_gradients(lambda: head.losses_of(classes, product, targets), leaves)
    expected = losses_and_gradients(
        lambda: stock_losses(head, classes, product.tensors(), targets), leaves
    )
    assert_same(got, expected)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize(
    ('kinds', 'message'),
    [
        ('class', 'scene1.png: class logits are not finite in prediction 3'),
        ('mask', 'scene1.png: mask logits are not finite in prediction 3'),
        ('class mask', 'scene1.png: class logits and mask logits are not finite in prediction 3'),
    ],
)
def test_logits_that_are_not_finite_are_named(kinds, message, value):
    classes, masks = (x.detach() for x in predictions_of(2))
    if 'class' in kinds:
        classes[3:, 1, 2, 4] = value
    if 'mask' in kinds:
        masks[3:, 1, 2] = value
    with pytest.raises(FloatingPointError, match=message):
        losses_of_masks(build_losses(), classes, masks, targets_of([3, 2]))


def test_all_images_that_cannot_be_matched_are_named():
    classes, masks = (x.detach() for x in predictions_of(2))
    classes[2:, 0, 2, 4] = float('nan')
    masks[1:, 1, 2] = float('nan')
    message = 'scene0.png, scene1.png: mask logits are not finite in prediction 1'
    with pytest.raises(FloatingPointError, match=message):
        losses_of_masks(build_losses(), classes, masks, targets_of([3, 2]))


@pytest.mark.parametrize('known', [True, False], ids=['at once', 'one by one'])
@pytest.mark.parametrize('where', ['class', 'mask'])
def test_faults_that_are_collected_come_as_far_as_the_losses(where, known, monkeypatch):
    """The assignment must not see them."""
    monkeypatch.setattr(mask_losses, 'has_known_costs', lambda assigner: known)
    classes, masks = (x.detach().requires_grad_() for x in predictions_of(2))
    losses = build_losses()
    losses.faults = []
    bad = classes if where == 'class' else masks
    with torch.no_grad():
        bad[3:, 1] = float('nan')
    values = losses_of_masks(losses, classes, masks, targets_of([3, 2]))
    assert losses.faults == [f'scene1.png: {where} logits are not finite in prediction 3']
    total = sum(values.values())
    assert not total.isfinite()
    total.sum().backward()
    assert not bad.grad.isfinite().all()


def test_class_logits_of_an_image_without_targets_are_checked():
    classes, masks = (x.detach() for x in predictions_of(2))
    classes[0, 0, 0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='an image: class logits .* prediction 0'):
        targets = replace(targets_of([0, 2]), img_metas=[{}, {}])
        losses_of_masks(build_losses(), classes, masks, targets)


@pytest.mark.parametrize('counts', [[3, 0], [0, 0]])
def test_everything_gets_a_gradient_without_targets(counts):
    """DistributedDataParallel would wait forever for one that is missing."""
    leaves = [predictions_of(2)[0], *product_of(2)]
    losses = build_losses().losses_of(leaves[0], MaskProduct(*leaves[1:]), targets_of(counts))
    for name, value in losses.items():
        assert value.requires_grad, name
        if counts == [0, 0] and 'cls' not in name:
            assert value == 0
    sum(value.sum() for value in losses.values()).backward()
    for leaf in leaves:
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_masks_are_counted_over_all_processes_at_once(monkeypatch):
    """One reduction, of MMDetection's count, in which an image without target is one mask."""
    counted = []

    def twice(x):
        counted.append(x.clone())
        return 2 * x

    monkeypatch.setattr('mmseg_faseg.models.losses.mask_losses.reduce_mean', twice)
    monkeypatch.setattr('mmdet.models.dense_heads.mask2former_head.reduce_mean', lambda x: 2 * x)
    compare_with_stock([3, 0, 2])
    assert counted == [torch.tensor([6.0])]
