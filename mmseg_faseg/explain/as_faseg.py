"""OpenMMLab's Mask2Former with a head that can be recorded."""

import copy
from typing import Any

from mmengine.config import ConfigDict

# OpenMMLab's head by the part of a model that it is, and ours with the same parameters.
_HEADS = dict(decode_head='FASegHead', panoptic_head='FASegPanopticHead')


def as_faseg(model: dict[str, Any]) -> ConfigDict:
    """Turns the config of a Mask2Former into that of the same model with a head of ours.

    With learned queries, three levels, the sinusoid and a threshold of 0.5, our heads compute what
    OpenMMLab's ``Mask2FormerHead`` computes, under the same parameter names.

    Args:
        model: Config of a segmentor or detector; it stays as it is.

    Returns:
        The changed config; a copy if its head is another.
    """
    model = ConfigDict(copy.deepcopy(model))
    for part, ours in _HEADS.items():
        head = model.get(part)
        if head is not None and str(head.type).rpartition('.')[2] == 'Mask2FormerHead':
            head.type = ours
            head.pixel_decoder.type = 'FASegPixelDecoder'
            encoding = head.get('positional_encoding', dict(num_feats=128, normalize=True))
            head.positional_encoding = dict(type='mmdet.SinePositionalEncoding', **encoding)
            head.positional_query = dict(type='LearnedPositionalQuery')
            head.high_res_attn, head.mask_threshold = None, 0.5
            head.setdefault('num_transformer_feat_level', 3)
            for settled in ('positional_encoding', 'num_outs'):
                head.pixel_decoder.pop(settled, None)
    return model
