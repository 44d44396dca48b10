"""A segmentor that trains from random weights: of CamVid's config, with backbone and all."""

from typing import Any

import mmseg_faseg
from tools.benchmarks.models import MeasuredModel, measured_model

CONFIG = f'{mmseg_faseg.__path__[0]}/.mim/configs/faseg_r18_camvid.py'
BACKEND = 'model.decode_head.pixel_decoder.deformable_backend'


def small_model(options: dict[str, Any] | None = None) -> MeasuredModel:
    """FASeg with ResNet-18 and 50 queries; options as of ``--cfg-options``."""
    return measured_model(CONFIG, options)
