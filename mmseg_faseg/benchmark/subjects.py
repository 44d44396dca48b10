"""What is measured: a model with random weights, by what it takes to build it in any process."""

import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from ..apis import UserError
from ..apis.model import build_model
from ..checkpoints.read import read_checkpoint
from ..models.decoders.pixel_decoder import FASegPixelDecoder
from ..models.semantic.segmentor import FASegSegmentor
from ..registry import MODELS


class Subject(NamedTuple):
    """A model to measure.

    Attributes:
        name: What tables call it.
        cfg: Its config.
        literal: Whether its transformer decoder is replaced by the formulas written out.
        precision: Name of the precision that it computes in.
        checkpoint: File with its weights; random ones when None.
    """

    name: str
    cfg: Config
    literal: bool = False
    precision: str = 'float32'
    checkpoint: str | None = None

    @classmethod
    def of(
        cls,
        cfg: Config,
        classes: int | None = None,
        queries: int | None = None,
        deformable: str | None = None,
        cuda_graphs: bool = False,
    ) -> 'Subject':
        """A config as it is, but for what is given, and without its pre-trained weights.

        Args:
            cfg: Config of a segmentor whose head is FASeg's or Mask2Former's.
            classes: Number of classes.
            queries: Number of queries.
            deformable: Back end of the deformable attention of FASeg's pixel decoder.
            cuda_graphs: Whether inference runs as CUDA graphs, which takes a ``FASegSegmentor``.

        Raises:
            UserError: The config has no such head, or its parts know no such back ends or graphs.
        """
        cfg = Config(cfg.to_dict(), filename=cfg.filename)
        model = cfg.get('model') or {}
        head = model.get('decode_head')
        head = head if isinstance(head, dict) else {}
        missing = {'num_classes', 'in_channels', 'pixel_decoder'} - set(head)
        if missing or not isinstance(model.get('backbone'), dict):
            raise UserError(
                f'config {cfg.filename} has no model with a backbone and a decode_head like '
                "FASegHead's or Mask2FormerHead's"
            )
        model.backbone.init_cfg = None
        if classes is not None:
            head.num_classes = classes
            if head.get('loss_cls', {}).get('class_weight') is not None:
                head.loss_cls.class_weight = [1.0] * classes + [0.1]
        if queries is not None:
            head.num_queries = queries
        if deformable is not None:
            decoder = MODELS.get(head.pixel_decoder.get('type', ''))
            if decoder is None or not issubclass(decoder, FASegPixelDecoder):
                raise UserError(
                    f'config {cfg.filename}: the deformable attention of its pixel decoder, '
                    f'{head.pixel_decoder.get("type")}, has no back ends to choose from'
                )
            head.pixel_decoder.deformable_backend = deformable
        if cuda_graphs:
            if not issubclass(MODELS.get(model.type) or object, FASegSegmentor):
                raise UserError(
                    f'config {cfg.filename}: its segmentor, {model.type}, has no CUDA graphs'
                )
            model.cuda_graphs = True
        name = Path(cfg.filename or 'config').stem
        options = [deformable] * (deformable is not None) + ['CUDA graphs'] * cuda_graphs
        return cls(', '.join([name, *options]), cfg)

    @property
    def has_cuda_graphs(self) -> bool:
        """Whether inference runs as CUDA graphs."""
        return bool(self.cfg.model.get('cuda_graphs'))

    @property
    def compiles(self) -> bool:
        """Whether a run at a new size may compile something."""
        return self.cfg.model.decode_head.pixel_decoder.get('deformable_backend') == 'compiled'

    def build(self, device: str) -> nn.Module:
        """The segmentor, initialised with the same seed every time.

        Raises:
            UserError: The config's model cannot be built, or the checkpoint is not its own.
        """
        torch.manual_seed(0)
        model = revert_sync_batchnorm(build_model(self.cfg))  # there is one process
        if self.checkpoint is None:
            logging.disable(logging.WARNING)  # OpenMMLab's lines about every parameter
            try:
                model.init_weights()
            finally:
                logging.disable(logging.NOTSET)
        else:
            checkpoint = read_checkpoint(self.checkpoint)
            try:
                model.load_state_dict(checkpoint.get('state_dict', checkpoint))
            except RuntimeError as error:
                lines = ' '.join(line.strip() for line in str(error).splitlines()[:2])
                raise UserError(f'{self.checkpoint} does not fit {self.name}: {lines}') from None
        return model.to(device)


def ignore_noise() -> None:
    """Keeps warnings about MMDetection's and MMSegmentation's own code from the screen."""
    warnings.filterwarnings('ignore', 'torch.meshgrid')
