"""The losses of a head without the head, and what they are fed."""

import torch
from mmdet.models import Mask2FormerHead

from mmseg_faseg.models.losses import MaskLosses, MaskTensors, Targets
from mmseg_faseg.models.losses.mask_losses import _OneByOne

from .small_head import head_config

LAYERS, QUERIES, WIDTH, SIZE, TARGET_SIZE, POINTS = 14, 6, 8, (7, 9), (28, 36), 64


def build_losses(num_classes=11, num_queries=QUERIES, **train_cfg):
    config = head_config()
    return MaskLosses(
        num_classes,
        num_queries,
        config.loss_cls,
        config.loss_mask,
        config.loss_dice,
        train_cfg={**config.train_cfg, 'num_points': POINTS, **train_cfg},
    )


def losses_of_masks(losses, classes, masks, targets):
    """Ours, of masks that exist."""
    return losses.losses_of(torch.stack(list(classes)), MaskTensors(list(masks)), targets)


def stock_losses(losses, classes, masks, targets):
    """MMDetection's, of the same."""
    return Mask2FormerHead.loss_by_feat(
        _OneByOne(losses), list(classes), list(masks), targets.instances(), targets.img_metas
    )


def targets_of(counts, num_classes=11, size=TARGET_SIZE, device='cpu'):
    """Blocky masks that overlap and leave some pixels to nobody."""
    generator = torch.Generator().manual_seed(1)
    labels_of, masks_of = [], []
    for n in counts:
        coarse = torch.rand(n, *[s // 4 for s in size], generator=generator) < 0.4
        masks = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).long()
        labels = torch.randint(0, num_classes, (n,), generator=generator)
        labels_of.append(labels.to(device))
        masks_of.append(masks.to(device))
    metas = [dict(img_path=f'scene{i}.png') for i in range(len(counts))]
    return Targets.of(labels_of, masks_of, metas)


def product_of(batch, layers=LAYERS, dtype=torch.float32, device='cpu'):
    """Mask embeddings, features and bias, as leaves with gradients."""
    generator = torch.Generator().manual_seed(2)
    shapes = [(layers, batch, QUERIES, WIDTH), (batch, WIDTH, *SIZE), (layers, batch, QUERIES)]
    leaves = [torch.randn(*s, generator=generator, dtype=dtype).to(device) for s in shapes]
    return [x.requires_grad_() for x in leaves]


def predictions_of(batch, num_classes=11, layers=LAYERS, device='cpu'):
    """Class and mask logits of all predictions, as leaves with gradients."""
    generator = torch.Generator().manual_seed(3)
    classes = torch.randn(layers, batch, QUERIES, num_classes + 1, generator=generator)
    masks = 2 * torch.randn(layers, batch, QUERIES, *SIZE, generator=generator)
    return [x.to(device).requires_grad_() for x in (classes, masks)]
