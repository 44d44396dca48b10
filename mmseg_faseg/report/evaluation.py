"""Predicts the images of a data set once and judges what comes out."""

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmseg.models import BaseSegmentor
from torch import Tensor

from ..datasets.broken_files import damage, first_line
from ..errors import UserError
from .scores import Evaluation, ImageScore
from .tally import Tally


@torch.no_grad()
def evaluate(
    model: BaseSegmentor,
    dataset: BaseDataset,
    indices: Iterable[int],
    evaluator: Sequence[dict],
    keep: Callable[[int, np.ndarray], None],
) -> Evaluation:
    """Predicts images one by one and judges what comes out.

    Args:
        model: In evaluation mode.
        dataset: With images and label maps; those that cannot be read are left out and listed.
        indices: Of the images to look at.
        evaluator: See :class:`Tally`.
        keep: Takes the index and the predicted classes (H, W) of each judged image.

    Raises:
        UserError: No image could be judged.
    """
    tally = Tally(len(dataset.metainfo['classes']), evaluator)
    folder = _common_folder(dataset)
    images: list[ImageScore] = []
    left_out: list[str] = []
    for index in indices:
        info = dataset.get_data_info(index)
        try:
            item = dataset[index]
        except Exception as error:  # whatever a decoder raises, the other images go on
            left_out.append(_reason(info, error))
            continue
        (sample,) = model.test_step(pseudo_collate([item]))
        predicted, truth = (
            sample.get(field).data[0].cpu() for field in ('pred_sem_seg', 'gt_sem_seg')
        )
        if predicted.shape != truth.shape:
            left_out.append(
                f'{info["img_path"]}: is {_size(predicted)}, but its label map is {_size(truth)}'
            )
            continue
        name = os.path.relpath(info['img_path'], folder)
        images.append(ImageScore(name, index, tally.add(predicted, truth)))
        keep(index, predicted.numpy())
    if not images:
        raise UserError(f'no image could be judged: {"; ".join(left_out[:3])}')
    return tally.result(dataset, images, left_out)


def _common_folder(dataset: BaseDataset) -> str:
    """The folder that all images of a data set lie in."""
    paths = (dataset.get_data_info(index)['img_path'] for index in range(len(dataset)))
    return os.path.commonpath({os.path.dirname(path) for path in paths})


def _reason(info: dict, error: Exception) -> str:
    """Why an entry cannot be judged, with its file."""
    if not info.get('seg_map_path'):
        return f'{info["img_path"]}: has no label map'
    return damage(info) or f'{info["img_path"]}: {first_line(error)}'


def _size(labels: Tensor) -> str:
    height, width = labels.shape
    return f'{width} x {height}'
