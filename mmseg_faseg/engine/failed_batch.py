"""Keeps a batch that training failed at, and computes its losses again."""

from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ..checkpoints.plain import make_plain
from ..files import whole_file


def images_of(batch: Any) -> list[Tensor]:
    """The images of a batch; none of what is no batch of a segmentor."""
    return list(batch.get('inputs', ())) if isinstance(batch, dict) else []


def samples_of(batch: Any) -> list[Any]:
    """Its data samples."""
    return list(batch.get('data_samples') or ()) if isinstance(batch, dict) else []


def save_batch(file: Path, batch: Any, iteration: int, what: str, weights: dict | None) -> None:
    """Writes what there was as data, which ``torch.load(weights_only=True)`` takes.

    Args:
        file: To write.
        batch: As the data loader gave it.
        iteration: From 1.
        what: Was not finite.
        weights: The model's; None to leave them out.
    """
    images, samples = images_of(batch), samples_of(batch)
    labels = []
    for image, sample in zip(images, samples, strict=True):
        label = sample.gt_sem_seg.data.cpu() if 'gt_sem_seg' in sample else None
        height, width = image.shape[-2:]  # the preprocessor may have padded labels in place
        labels.append(None if label is None else label[..., :height, :width].clone())
    saved = dict(
        iteration=iteration,
        what=what,
        inputs=[image.cpu() for image in images],
        labels=labels,
        metainfo=[sample.metainfo for sample in samples],
        weights=weights,
    )
    make_plain(saved)
    with whole_file(file) as temporary:
        torch.save(saved, temporary)


def replay(model: Any, file: str | Path) -> dict[str, Tensor]:
    """Computes the losses of a batch that :class:`.nonfinite.NonFiniteHook` saved.

    Args:
        model: The segmentor, as :func:`mmseg_faseg.apis.model.build_model` builds it from the
            config. It gets the weights of that iteration, if training stopped and saved them.
        file: ``nonfinite_iter_N.pth``.

    Returns:
        Losses by name, to call ``backward`` on.

    Raises:
        FloatingPointError: Logits are not finite again; it names the image and the prediction.
    """
    saved = torch.load(file, map_location='cpu', weights_only=True)
    if saved['weights'] is not None:
        model.load_state_dict(saved['weights'])
    samples = [
        SegDataSample(metainfo=meta, **({} if label is None else _labelled(label)))
        for meta, label in zip(saved['metainfo'], saved['labels'], strict=True)
    ]
    data = model.data_preprocessor(dict(inputs=saved['inputs'], data_samples=samples), True)
    return model.train()(**data, mode='loss')


def _labelled(label: Tensor) -> dict[str, PixelData]:
    return dict(gt_sem_seg=PixelData(data=label))
