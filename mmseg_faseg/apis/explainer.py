"""What a predictor's network looks at in an image."""

from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image
from torch import nn

from ..errors import UserError
from ..explain.as_faseg import as_faseg
from ..explain.explanation import ModelView, view_of
from ..explain.recorder import mask_head_of
from .explain import LONGEST
from .model import build_model
from .predictor import Predictor
from .views import Views


class Explainer:
    """Runs the network of a predictor on an image and keeps what its decoder did.

    The network sees an image whole, as in testing, whatever the predictor does about tiles or
    windows. It is the predictor's own, or shares its weights.

    Args:
        predictor: Of a model with a FASeg head, or OpenMMLab's ``Mask2FormerHead``.

    Raises:
        UserError: The model has no decoder that can be recorded.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._network = _with_recordable_head(predictor)
        try:
            mask_head_of(self._network)
        except TypeError as error:
            raise UserError(f'{predictor.checkpoint} cannot be explained: {error}') from None
        self._views = Views(predictor.cfg)

    def __call__(self, image: np.ndarray) -> ModelView:
        """What the model makes of an image, RGB (H, W, 3) uint8; a large one is made smaller."""
        picture = Image.fromarray(image)
        picture.thumbnail((LONGEST, LONGEST))
        ((inputs, sample),) = self._views(np.asarray(picture))
        return view_of(
            Path(self.predictor.checkpoint).stem,
            self._network,
            dict(inputs=inputs, data_samples=sample),
            self.predictor.classes,
            self.predictor.palette,
        )


def _with_recordable_head(predictor: Predictor) -> nn.Module:
    """The predictor's model; of a Mask2Former one of ours with the same weights."""
    config = as_faseg(predictor.cfg.model)
    if config == predictor.cfg.model:
        return predictor.model
    network = build_model(Config(dict(predictor.cfg, model=config)))
    network.load_state_dict(predictor.model.state_dict(), assign=True)
    return network.to(predictor.device).eval()
