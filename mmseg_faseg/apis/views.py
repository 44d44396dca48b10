"""What a model gets to see of an image: what the config's test pipeline makes of it."""

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmseg.structures import SegDataSample
from torch import Tensor

from ..datasets.broken_files import first_line
from ..errors import UserError
from .config import datasets_of

_SCALES = (0.75, 1.0, 1.25)  # of test-time augmentation, where a config has none


class Views:
    """Turns images into what a model gets.

    Args:
        cfg: A config with ``test_dataloader``, and with ``tta_pipeline`` perhaps.
        tta: Whether to make several views of each image: those of ``tta_pipeline``, or three sizes,
            each with its mirror image.

    Raises:
        UserError: The pipeline does not begin with reading colours from a file.
    """

    def __init__(self, cfg: Config, tta: bool = False) -> None:
        pipeline = next((d.get('pipeline') for d in datasets_of(cfg.get('test_dataloader'))), None)
        if pipeline is None:
            raise UserError(f'{cfg.filename} has no test_dataloader with a pipeline')
        steps = _steps_on_arrays(list(pipeline))
        if tta and 'tta_pipeline' in cfg:
            steps = _steps_on_arrays(list(cfg.tta_pipeline))
        elif tta:
            steps = _with_views(steps)
        with DefaultScope.overwrite_default_scope('mmseg'):
            self.pipeline = Compose(steps)

    def __call__(self, image: np.ndarray) -> list[tuple[Tensor, SegDataSample]]:
        """The views of an image, RGB (H, W, 3) uint8: each (3, h, w) and its sample.

        Raises:
            UserError: The pipeline cannot take the image.
        """
        try:
            views = self.pipeline(dict(img=np.ascontiguousarray(image[..., ::-1])))
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # whatever a transform raises
            size = f'{image.shape[1]} x {image.shape[0]}'
            reason = first_line(error)
            raise UserError(
                f'the test pipeline cannot take an image of {size}: {reason}'
            ) from error
        if isinstance(views['inputs'], list):
            return list(zip(views['inputs'], views['data_samples'], strict=True))
        return [(views['inputs'], views['data_samples'])]


def _steps_on_arrays(steps: list[Any]) -> list[Any]:
    """A pipeline that is given images, in OpenCV's order of colours, and no labels."""
    first = steps[0] if steps else {}
    if _kind(first) != 'LoadImageFromFile' or first.get('color_type', 'color') != 'color':
        raise UserError(
            "the test pipeline must begin with dict(type='LoadImageFromFile') and "
            f"color_type='color', got {first}"
        )
    loading = dict(type='mmseg.LoadImageFromNDArray', to_float32=first.get('to_float32', False))
    return [loading, *_without_labels(steps[1:])]


def _without_labels(steps: list[Any]) -> list[Any]:
    """Leaves out the loading of labels, also among the choices of test-time augmentation."""
    kept = []
    for step in steps:
        if isinstance(step, list | tuple):
            step = _without_labels(list(step))
        elif isinstance(step, dict) and 'transforms' in step:
            step = dict(step, transforms=_without_labels(list(step['transforms'])))
        if step != [] and not _kind(step).startswith('LoadAnnotations'):
            kept.append(step)
    return kept


def _with_views(steps: list[Any]) -> list[Any]:
    *steps, packing = steps
    transforms = [
        [dict(type='Resize', scale_factor=scale, keep_ratio=True) for scale in _SCALES],
        [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
        [packing],
    ]
    return [*steps, dict(type='TestTimeAug', transforms=transforms)]


def _kind(step: Any) -> str:
    return str(step.get('type')).rpartition('.')[2] if isinstance(step, dict) else ''
