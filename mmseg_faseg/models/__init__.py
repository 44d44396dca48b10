from .backbones.timm_features import TimmFeatures
from .decoders.focus_attention import FocusAttention
from .decoders.high_res_attention import HighResolutionCrossAttention
from .decoders.pixel_decoder import FASegPixelDecoder
from .decoders.positional_encoding import ConditionalPositionalEncoding
from .decoders.positional_query import (
    AnchorPositionalQuery,
    DynamicFocusPositionalQuery,
    LearnedPositionalQuery,
)
from .panoptic.detector import FASegDetector
from .panoptic.head import FASegPanopticHead
from .panoptic.segformer import PanopticSegFormer
from .panoptic.segformer_head import PanopticSegFormerHead
from .semantic.head import FASegHead
from .semantic.segmentor import FASegSegmentor
from .semantic.tta import FASegTTAModel

__all__ = [
    'AnchorPositionalQuery',
    'ConditionalPositionalEncoding',
    'DynamicFocusPositionalQuery',
    'FASegDetector',
    'FASegHead',
    'FASegPanopticHead',
    'FASegPixelDecoder',
    'FASegSegmentor',
    'FASegTTAModel',
    'FocusAttention',
    'HighResolutionCrossAttention',
    'LearnedPositionalQuery',
    'PanopticSegFormer',
    'PanopticSegFormerHead',
    'TimmFeatures',
]
