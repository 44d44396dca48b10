"""A segmentor that trains from random weights: of CamVid's config, with backbone and all.

This folder has no ``__init__.py``: a package called cuda would hide NVIDIA's.
"""

from mmengine.config import Config

import mmseg_faseg
from mmseg_faseg.benchmark.subjects import Subject

CONFIG = f'{mmseg_faseg.__path__[0]}/.mim/configs/faseg_r18_camvid.py'


def small_subject(**changes) -> Subject:
    """FASeg with ResNet-18 and 50 queries; ``changes`` as of ``Subject.of``."""
    return Subject.of(Config.fromfile(CONFIG), **changes)
