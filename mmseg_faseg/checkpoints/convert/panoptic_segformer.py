"""Names of Panoptic SegFormer's released mask decoders, and ours for them."""

import re

# Beginnings of names within a decoder; the longest that fits counts.
_PARTS = {
    'attnen.q': 'last_attn.query_proj',
    'attnen.k': 'last_attn.key_proj',
    'attnen.linear': 'last_attn.mask_proj',
    'attn.q': 'cross_attn.query_proj',
    'attn.k': 'cross_attn.key_proj',
    'attn.v': 'cross_attn.value_proj',
    'attn.proj': 'cross_attn.out_proj',
    'attn.linear': 'cross_attn.mask_proj',
    'head_norm1': 'cross_norm',
    'head_norm2': 'ffn_norm',
    'mlp.fc1': 'ffn.layers.0.0',
    'mlp.fc2': 'ffn.layers.1',
    'self_attention.qkv': 'self_attn.in_proj',
    'self_attention.proj': 'self_attn.out_proj',
    'norm3': 'self_norm',
}
_NAME = re.compile(
    r'(?P<layer>blocks\.\d+\.)?(?P<part>.+?)(?P<level>_l\d+)?(?P<first>\.0)?\.(?P<leaf>weight|bias)'
)


def mask_decoder_key(key: str) -> str:
    """Our name of a parameter of a mask decoder.

    Args:
        key: The released one, without the decoder's own: ``blocks.0.attn.linear_l1.0.weight``.

    Raises:
        KeyError: It is none.
    """
    match = _NAME.fullmatch(key)
    if match is None or match['part'] not in _PARTS:
        raise KeyError(key)
    layer = (match['layer'] or '').replace('blocks', 'layers')
    part = _PARTS[match['part']]
    if match['level']:
        part = part.replace('mask_proj', f'level_projs.{int(match["level"][2:]) - 1}')
    joint = '_' if part.endswith('in_proj') else '.'
    return f'{layer}{part}{joint}{match["leaf"]}'
