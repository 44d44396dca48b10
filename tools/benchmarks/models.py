"""The models that are measured: with random weights, in one of four precisions."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmseg_faseg.apis import UserError, load_config
from mmseg_faseg.apis.model import build_model

from .gpus import check_gpu

# What two models are compared with if nothing is said.
DEFAULT_CONFIGS = (
    'mmseg_faseg::faseg_swin-t_ade20k.py',
    'mmseg_faseg::mask2former_swin-t_ade20k.py',
)


class Precision(NamedTuple):
    """How a model computes.

    Attributes:
        autocast: Type that autocast takes; None runs without autocast.
        tf32: Whether a GPU rounds the factors of float32 products to TF32; None leaves it to
            PyTorch, which does so in convolutions only.
    """

    autocast: torch.dtype | None = None
    tf32: bool | None = None

    @contextmanager
    def float32_products(self) -> Iterator[None]:
        """Sets ``tf32`` for a while."""
        if self.tf32 is None:
            yield
            return
        matmul = torch.get_float32_matmul_precision()
        convolution = torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision('high' if self.tf32 else 'highest')
        torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)
            torch.backends.cudnn.allow_tf32 = convolution


PRECISIONS = {
    'float32': Precision(tf32=False),
    'tf32': Precision(tf32=True),
    'float16': Precision(torch.float16),
    'bfloat16': Precision(torch.bfloat16),
}
# Without a GPU the others do not exist, or cannot be trained in.
_ON_CPU = ('float32', 'bfloat16')


class MeasuredModel(NamedTuple):
    """A model, by what it takes to build it in any process.

    Attributes:
        name: What tables call it.
        cfg: Its config.
        precision: Name of the precision that it computes in.
    """

    name: str
    cfg: Config
    precision: str = 'float32'

    def build(self, device: str) -> nn.Module:
        """The segmentor, initialised with the same seed every time.

        Raises:
            UserError: The config's model cannot be built.
        """
        warnings.filterwarnings('ignore', 'torch.meshgrid')  # of MMDetection's own code
        torch.manual_seed(0)
        model = revert_sync_batchnorm(build_model(self.cfg))  # there is one process
        logging.disable(logging.WARNING)  # OpenMMLab's lines about every parameter
        try:
            with redirect_stdout(None):
                model.init_weights()
        finally:
            logging.disable(logging.NOTSET)
        return model.to(device)


def measured_model(
    config: str,
    options: dict[str, Any] | None = None,
    classes: int | None = None,
    queries: int | None = None,
    precision: str = 'float32',
) -> MeasuredModel:
    """Reads a config, without its pre-trained weights.

    Args:
        config: As :func:`mmseg_faseg.apis.load_config` takes it.
        options: What ``--cfg-options`` gave for it; the model's name tells them.
        classes: Number of classes, in place of the config's.
        queries: Number of queries, likewise.
        precision: Of ``PRECISIONS``.

    Raises:
        UserError: There is no such config, its model cannot be built, or it has no head like
            FASeg's or Mask2Former's.
    """
    cfg = load_config(config, options)
    model = cfg.get('model') or {}
    name = head_name(model)
    if name is None or not isinstance(model.get('backbone'), dict):
        raise UserError(
            f'config {cfg.filename} has no model with a backbone and a head like FASegHead, '
            'Mask2FormerHead, their panoptic kin or PanopticSegFormerHead'
        )
    model.backbone.init_cfg = None
    head = model[name]
    if classes is not None:
        if 'num_classes' not in head:
            raise UserError(f'--classes is for semantic segmentation, {cfg.filename} is not')
        head.num_classes = classes
        if head.get('loss_cls', {}).get('class_weight') is not None:
            head.loss_cls.class_weight = [1.0] * classes + [0.1]
    if queries is not None:
        head.num_queries = queries
    build_model(cfg)
    changes = [f'{key.rpartition(".")[2]}={value}' for key, value in (options or {}).items()]
    return MeasuredModel(', '.join([Path(cfg.filename).stem, *changes]), cfg, precision)


def head_name(model: dict) -> str | None:
    """Where the config of a model has its mask head; None if it has none of ours or like ours."""
    for name, needed in (
        ('decode_head', {'num_classes', 'in_channels', 'pixel_decoder'}),
        ('panoptic_head', {'num_things_classes', 'in_channels', 'pixel_decoder'}),
        ('bbox_head', {'num_things_classes', 'stuff_decoder'}),
    ):
        if needed <= set(model.get(name) or {}):
            return name
    return None


def check_device(device: str, precision: str = 'float32') -> None:
    """Raises UserError unless the device is there and computes in the precision."""
    if device not in ('cpu', 'cuda'):
        raise UserError(f'--device must be cpu or cuda, got {device}')
    known = PRECISIONS if device == 'cuda' else _ON_CPU
    if precision not in known:
        raise UserError(f'--precision on {device} must be of {", ".join(known)}, got {precision}')
    if device == 'cuda':
        check_gpu()


def check_sizes(sizes: list[tuple[int, int]], option: str) -> None:
    """Raises UserError, which names the option, unless all are large enough for a backbone."""
    for height, width in sizes:
        if min(height, width) < 32:  # below this a backbone's last map vanishes
            raise UserError(f'{option} must be at least 32, got {height} x {width}')
