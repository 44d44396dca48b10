"""A training step and a prediction of the toy models, as numbers that can be compared."""

import json

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_faseg.apis.model import build_model
from mmseg_faseg.compat import config_path

CONFIGS = ('faseg_toy.py', 'mask2former_toy.py')


def training_step(config: str) -> dict[str, float]:
    """Losses and gradient norm of one step, and sums of the class maps predicted before it."""
    cfg = Config.fromfile(config_path(config))
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.cls_embed.weight)  # else one class takes it all
    images = torch.rand(2, 3, 64, 64)
    labels = torch.randint(0, 8, (2, 1, 8, 8)).repeat_interleave(8, -1).repeat_interleave(8, -2)
    shapes = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(shapes, img_path='0.png'))
        for label in labels
    ]
    with torch.no_grad():
        maps = model.eval().predict(images, samples)
    numbers = {f'map {i}': int(m.pred_sem_seg.data.sum()) for i, m in enumerate(maps)}
    loss, losses = model.parse_losses(model.train().loss(images, samples))
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    numbers['gradient norm'] = torch.nn.utils.get_total_norm(gradients).item()
    return numbers | {name: value.item() for name, value in losses.items()}


def all_numbers() -> dict[str, dict[str, float]]:
    """The numbers of each toy model."""
    return {config: training_step(config) for config in CONFIGS}


if __name__ == '__main__':
    print(json.dumps(all_numbers()))
