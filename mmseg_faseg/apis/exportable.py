"""What of a trained model goes into a file, and the model itself to compare the file with."""

import copy
from typing import Any

import numpy as np
import torch
from mmseg.models.decode_heads import Mask2FormerHead
from torch import nn

from ..errors import UserError
from ..export.agreement import Result
from ..export.picture_model import PictureModel
from ..export.resizing import resize_of
from ..models import FASegHead
from .config import datasets_of
from .model import build_model
from .trained_model import TrainedModel
from .views import Views

_MOST_CLASSES = 256  # what a byte can tell apart


def picture_model(trained: TrainedModel) -> PictureModel:
    """The part of a trained model that a file can hold, with class scores.

    Raises:
        UserError: It has another head, more classes, or a way to predict that a file has not.
    """
    head, test_cfg = trained.model.decode_head, trained.model.test_cfg or {}
    if not isinstance(head, Mask2FormerHead):  # ours is one
        raise UserError(
            f'{trained.checkpoint} has a {type(head).__name__}: FASegHead and Mask2FormerHead can '
            'be exported'
        )
    if test_cfg.get('mode', 'whole') != 'whole' or test_cfg.get('merging', 'argmax') != 'argmax':
        raise UserError(
            f"{trained.checkpoint} predicts with test_cfg={dict(test_cfg)}: mode='whole' and "
            "merging='argmax' can be exported"
        )
    if len(trained.classes) > _MOST_CLASSES:
        raise UserError(
            f'{trained.checkpoint} has {len(trained.classes)} classes, 256 are the most'
        )
    pipeline = next(datasets_of(trained.cfg.test_dataloader)).pipeline
    return PictureModel(_with_own_head(trained), resize_of(pipeline), scores=True).eval()


def _with_own_head(trained: TrainedModel) -> nn.Module:
    """The segmentor; MMSegmentation's Mask2Former with our head, which computes the same.

    MMSegmentation's own reads sizes from tensors on the way, which no exporter can follow.
    """
    if isinstance(trained.model.decode_head, FASegHead):
        return trained.model
    cfg = copy.deepcopy(trained.cfg)
    head = cfg.model.decode_head
    encoding = head.get('positional_encoding') or dict(num_feats=128, normalize=True)
    head.update(
        type='FASegHead',
        mask_threshold=0.5,
        positional_query=dict(type='LearnedPositionalQuery'),
        positional_encoding=dict(encoding, type='mmdet.SinePositionalEncoding'),
    )
    head.pixel_decoder.type = 'FASegPixelDecoder'
    head.pixel_decoder.pop('positional_encoding', None)
    model = build_model(cfg)
    model.load_state_dict(trained.model.state_dict())
    return model


class Reference:
    """The trained model in PyTorch, as it is tested.

    Args:
        trained: The model.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self.model: Any = trained.model
        self.views = Views(trained.cfg)

    @torch.no_grad()
    def classes(self, picture: np.ndarray) -> np.ndarray:
        """The class map (H, W) of a picture, RGB (H, W, 3) uint8."""
        return self._predict(picture).pred_sem_seg.data[0].numpy()

    def result(self, picture: np.ndarray) -> Result:
        """Its class map and class scores."""
        keeps = getattr(self.model, 'keep_scores', None)
        self.model.keep_scores = True  # of FASegSegmentor; others keep them always
        try:
            sample = self._predict(picture)
        finally:
            self.model.keep_scores = keeps
        return sample.pred_sem_seg.data[0].numpy(), sample.seg_logits.data.numpy()

    @torch.no_grad()
    def _predict(self, picture: np.ndarray) -> Any:
        ((inputs, sample),) = self.views(picture)
        data = self.model.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]), False)
        return self.model.predict(data['inputs'], data['data_samples'])[0]
