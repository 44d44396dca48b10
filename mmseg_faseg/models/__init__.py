from .attention import FocusAttention
from .faseg_head import FASegHead
from .high_res_attention import HighResolutionCrossAttention
from .pixel_decoder import FASegPixelDecoder
from .positional_encoding import ConditionalPositionalEncoding
from .positional_query import (
    AnchorPositionalQuery,
    DynamicFocusPositionalQuery,
    LearnedPositionalQuery,
)
from .segmentor import FASegSegmentor
from .tta import FASegTTAModel

__all__ = [
    'AnchorPositionalQuery',
    'ConditionalPositionalEncoding',
    'DynamicFocusPositionalQuery',
    'FASegHead',
    'FASegPixelDecoder',
    'FASegSegmentor',
    'FASegTTAModel',
    'FocusAttention',
    'HighResolutionCrossAttention',
    'LearnedPositionalQuery',
]
