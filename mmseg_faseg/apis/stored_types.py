"""What a config that came with a checkpoint may ask for, and no more.

Constructors of OpenMMLab's parts evaluate words, unpickle files and write where they are told to,
each in its own way. So this is a list of what is allowed: types, for each the names of its
arguments, and values that are numbers or plain words. What is not in it is refused.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from ..errors import UserError

_SCOPES = ('mmseg', 'mmdet', 'mmpretrain', 'mmcv', 'mmengine')

_HEAD = 'in_channels in_index channels num_classes out_channels threshold dropout_ratio conv_cfg'
_HEAD += ' norm_cfg act_cfg input_transform ignore_index align_corners test_cfg'
_MASK_HEAD = 'in_channels feat_channels out_channels num_classes num_queries align_corners'
_MASK_HEAD += ' ignore_index num_transformer_feat_level pixel_decoder transformer_decoder'
_MASK_HEAD += ' positional_encoding enforce_decoder_input_project test_cfg'
_PIXEL_DECODER = 'in_channels strides feat_channels out_channels num_outs norm_cfg act_cfg encoder'
_PIXEL_DECODER += ' positional_encoding'
_PANOPTIC_HEAD = f'{_MASK_HEAD} num_things_classes num_stuff_classes'
_DETECTOR = 'data_preprocessor backbone neck panoptic_head panoptic_fusion_head test_cfg'
_SEGMENTOR = 'data_preprocessor backbone neck decode_head test_cfg'
_RESNET = 'depth in_channels stem_channels base_channels num_stages strides dilations out_indices'
_RESNET += ' style deep_stem avg_down frozen_stages conv_cfg norm_cfg norm_eval multi_grid'
_RESNET += ' contract_dilation zero_init_residual groups base_width'
_SWIN = 'pretrain_img_size in_channels embed_dims patch_size window_size mlp_ratio depths num_heads'
_SWIN += ' strides out_indices qkv_bias qk_scale patch_norm drop_rate attn_drop_rate drop_path_rate'
_SWIN += ' use_abs_pos_embed act_cfg norm_cfg frozen_stages'
_NORM = 'requires_grad eps momentum num_groups affine'
_ACTIVATION = 'inplace negative_slope'

MODEL = {
    'FASegSegmentor': f'{_SEGMENTOR} keep_scores cuda_graphs',
    'EncoderDecoder': _SEGMENTOR,
    'FASegDetector': _DETECTOR,
    'Mask2Former': _DETECTOR,
    'PanopticSegFormer': 'data_preprocessor backbone neck encoder decoder positional_encoding '
    'bbox_head num_queries num_feature_levels test_cfg',
    'DetDataPreprocessor': 'mean std pad_size_divisor pad_value pad_mask mask_pad_value pad_seg '
    'seg_pad_value bgr_to_rgb rgb_to_bgr',
    'SegDataPreProcessor': 'mean std size size_divisor pad_val seg_pad_val bgr_to_rgb rgb_to_bgr '
    'test_cfg',
    'ResNet': _RESNET,
    'ResNetV1c': _RESNET,
    'ResNetV1d': _RESNET,
    'ResNeXt': _RESNET,
    'SwinTransformer': _SWIN,
    'MixVisionTransformer': 'in_channels embed_dims num_stages num_layers num_heads patch_sizes '
    'strides sr_ratios out_indices mlp_ratio qkv_bias drop_rate attn_drop_rate drop_path_rate '
    'act_cfg norm_cfg',
    'ConvNeXt': 'arch in_channels stem_patch_size norm_cfg act_cfg linear_pw_conv use_grn '
    'drop_path_rate layer_scale_init_value out_indices frozen_stages gap_before_final_norm',
    'PyramidVisionTransformerV2': 'pretrain_img_size in_channels embed_dims num_stages num_layers '
    'num_heads strides sr_ratios out_indices mlp_ratios qkv_bias drop_rate attn_drop_rate '
    'drop_path_rate act_cfg norm_cfg',
    'TimmFeatures': 'model_name out_indices norm img_size patch_size window_size dynamic_img_size '
    'strict_img_size drop_path_rate',
    'Feature2Pyramid': 'embed_dim rescales norm_cfg',
    'FPN': 'in_channels out_channels num_outs start_level end_level add_extra_convs '
    'relu_before_extra_convs no_norm_on_lateral conv_cfg norm_cfg act_cfg',
    'ChannelMapper': 'in_channels kernel_size out_channels conv_cfg norm_cfg act_cfg num_outs',
    'FASegHead': f'{_MASK_HEAD} positional_query high_res_attn mask_threshold',
    'FASegPanopticHead': f'{_PANOPTIC_HEAD} positional_query high_res_attn mask_threshold',
    'Mask2FormerHead': _PANOPTIC_HEAD,
    'MaskFormerFusionHead': 'num_things_classes num_stuff_classes test_cfg',
    'PanopticSegFormerHead': 'embed_dims num_reg_fcs num_things_classes num_stuff_classes '
    'things_decoder stuff_decoder test_cfg',
    'FCNHead': f'{_HEAD} num_convs kernel_size concat_input dilation',
    'UPerHead': f'{_HEAD} pool_scales',
    'PSPHead': f'{_HEAD} pool_scales',
    'SegformerHead': f'{_HEAD} interpolate_mode',
    'FASegPixelDecoder': f'{_PIXEL_DECODER} deformable_backend',
    'MSDeformAttnPixelDecoder': _PIXEL_DECODER,
    'SinePositionalEncoding': 'num_feats temperature normalize scale eps offset',
    'ConditionalPositionalEncoding': 'embed_dims num_levels add_sinusoid',
    'DynamicFocusPositionalQuery': 'embed_dims first_region mask_box',
    'AnchorPositionalQuery': 'embed_dims temperature',
    'LearnedPositionalQuery': 'embed_dims',
    'HighResolutionCrossAttention': 'embed_dims num_heads region ratio query_pos',
    **dict.fromkeys(('BN', 'SyncBN', 'GN', 'LN', 'LN2d'), _NORM),
    **dict.fromkeys(('ReLU', 'LeakyReLU', 'GELU', 'Swish', 'SiLU'), _ACTIVATION),
    **dict.fromkeys(('Dropout', 'DropPath'), 'drop_prob'),
}
TTA_MODEL = {'FASegTTAModel': '', 'SegTTAModel': ''}
_DATA = 'data_root data_prefix ann_file img_suffix seg_map_suffix metainfo reduce_zero_label'
_DATA += ' ignore_index pipeline'
DATASET = {
    # make their files where they are missing: load_stored_config sets their data_root
    **dict.fromkeys(
        ('ToyScenesDataset', 'ToyPanopticDataset'), 'split num_images data_root pipeline'
    ),
    'FolderDataset': f'{_DATA} label_values',
    **dict.fromkeys(
        (
            *('ADE20KDataset', 'BDD100KDataset', 'BaseSegDataset', 'COCOStuffDataset'),
            *('CamVidDataset', 'ChaseDB1Dataset', 'CityscapesDataset', 'DRIVEDataset'),
            *('DarkZurichDataset', 'HRFDataset', 'ISPRSDataset', 'LoveDADataset'),
            *('MapillaryDataset_v1', 'MapillaryDataset_v2', 'NightDrivingDataset'),
            *('PascalContextDataset', 'PascalContextDataset59', 'PascalVOCDataset'),
            *('PotsdamDataset', 'STAREDataset', 'iSAIDDataset'),
            *('CocoDataset', 'CocoPanopticDataset', 'ADE20KPanopticDataset'),
        ),
        _DATA,
    ),
}
TRANSFORM = {
    'LoadImageFromFile': 'to_float32 color_type ignore_empty',
    'LoadAnnotations': 'reduce_zero_label with_bbox with_label with_mask with_seg',
    'LoadPanopticAnnotations': 'with_bbox with_label with_mask with_seg',
    'PackSegInputs': 'meta_keys',
    'PackDetInputs': 'meta_keys',
    'Resize': 'scale scale_factor keep_ratio interpolation',
    'ResizeShortestEdge': 'scale max_size',
    'AntialiasedResizeShortestEdge': 'scale max_size',
    'RandomFlip': 'prob direction',
    'TestTimeAug': 'transforms',
}
METRIC = {
    'IoUMetric': 'ignore_index iou_metrics nan_to_num beta',
    'BoundaryIoUMetric': 'ignore_index distance',
    'SizeIoUMetric': 'ignore_index areas',
    'SemanticMetrics': 'metrics',
    'CocoMetric': 'ann_file metric classwise',
    'CocoPanopticMetric': 'ann_file seg_prefix classwise',
}
LOADER = 'batch_size num_workers persistent_workers pin_memory drop_last dataset sampler'
SAMPLER = {'DefaultSampler': 'shuffle'}

# Only trained with, or replaced by the checkpoint's weights: nobody reads what a file says there.
NOT_READ = {
    *('train_cfg', 'init_cfg', 'pretrained', 'mask2former', 'auxiliary_head', 'mask_pilot'),
    *('loss_cls', 'loss_mask', 'loss_dice', 'loss_decode', 'batch_augments', 'with_cp'),
    *('loss_bbox', 'loss_iou', 'loss_stuff', 'thing_class_weight', 'sync_cls_avg_factor'),
    'convert_weights',
    *('backend_args', 'file_client_args', 'serialize_data', 'lazy_init', 'test_mode', 'prefix'),
    *('collect_device', 'worker_init_fn', 'collate_fn', 'keep_results'),
}
_TABLE_OF = dict(
    dataset=DATASET, sampler=SAMPLER, pipeline=TRANSFORM, transforms=TRANSFORM, metrics=METRIC
)

_PREFIXES = {'img_path', 'seg_map_path', 'img', 'seg'}
_NAMES = ('classes', 'thing_classes', 'stuff_classes')
_WORD = re.compile(r'[A-Za-z0-9_.+-]{0,80}')
_KEY = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,60}')
# What would otherwise ask for all of a machine.
_LIMITS = dict(num_workers=16, batch_size=64, num_images=1000, scale=16_384, max_size=16_384)
_LARGEST = 1_000_000
_MAX_DEPTH = 20


def check_part(value: Any, key: str, table: dict[str, str], depth: int = 0) -> Any:
    """Returns a part of a stored config without what is not read.

    Args:
        value: The part: a dict with a ``type``, a list of such dicts, or what they contain.
        key: Where it stands, with dots.
        table: The types that may stand there.
        depth: Of the part in those around it.

    Raises:
        UserError: It asks for what is not allowed; the message names the key.
    """
    name = key.rpartition('.')[2]
    if depth > _MAX_DEPTH:
        raise UserError(f'is nested more than {_MAX_DEPTH} deep at {key[:100]}')
    if name in _EXCEPTIONS and not (isinstance(value, dict) and 'type' in value):
        return _EXCEPTIONS[name](value, key)
    if isinstance(value, dict):
        return _check_dict(value, key, table, depth)
    if isinstance(value, list | tuple):
        return type(value)(check_part(item, key, table, depth + 1) for item in value)
    return _plain(value, key)


def _check_dict(value: dict, key: str, table: dict[str, str], depth: int) -> dict:
    arguments = None
    if 'type' in value:
        arguments = table.get(_without_scope(value['type']))
        if arguments is None:
            raise UserError(f'has {key}.type={_short(value["type"])}, which is not on the list')
    checked = {}
    for name, item in value.items():
        if not isinstance(name, str) or not (_KEY.fullmatch(name) or name == '_scope_'):
            raise UserError(f'has the key {_short(name)} in {key}')
        if name in NOT_READ:
            continue
        if name == '_scope_' and item not in _SCOPES:
            raise UserError(f'has {key}._scope_={_short(item)}')
        if name in ('type', '_scope_'):
            checked[name] = item
            continue
        if arguments is not None and name not in arguments.split():
            raise UserError(f'has {key}.{name}, which is not on the list for {value["type"]}')
        inner = _TABLE_OF.get(name, table)
        checked[name] = check_part(item, f'{key}.{name}', inner, depth + 1)
    return checked


def check_loader(value: Any, key: str) -> dict:
    """Returns a data loader's config without what is not read.

    Raises:
        UserError: As :func:`check_part`.
    """
    if not isinstance(value, dict):
        raise UserError(f'has {key}={_short(value)}, which is no dict')
    for name in value:
        if name not in LOADER.split() and name not in NOT_READ:
            raise UserError(f'has {key}.{_short(name)}, which is not on the list')
    for name in ('dataset', 'sampler'):
        if not isinstance(value.get(name), dict) or 'type' not in value[name]:
            raise UserError(f'has no {key}.{name} with a type')
    return check_part(value, key, {})


def _without_scope(kind: Any) -> str:
    if not isinstance(kind, str):
        return ''
    scope, dot, name = kind.rpartition('.')
    return kind if dot and scope not in _SCOPES else name


def _plain(value: Any, key: str) -> Any:
    name = key.rpartition('.')[2]
    if value is None or type(value) is bool:
        return value
    if type(value) in (int, float):
        limit = _LIMITS.get(name, _LARGEST)
        if not math.isfinite(value) or abs(value) > limit:
            raise UserError(f'has {key}={_short(value)}, of which {limit} is the most')
        return value
    if isinstance(value, str) and _WORD.fullmatch(value) and '..' not in value:
        return value
    raise UserError(f'has {key}={_short(value)}, which is neither a number nor a plain word')


def _path(value: Any, key: str) -> Any:
    """A place to read from: no address, and no device."""
    if value is None:
        return None
    if isinstance(value, str) and value.isprintable() and len(value) < 1000:
        parts = value.split('/')
        device = value.startswith('/') and [*filter(None, parts), ''][0] in ('dev', 'proc', 'sys')
        if ':' not in value and '..' not in parts and not device:
            return value
    raise UserError(f'has {key}={_short(value)}, which is no path to read data from')


def _prefixes(value: Any, key: str) -> dict:
    if not isinstance(value, dict) or not value.keys() <= _PREFIXES:
        raise UserError(f'has {key}={_short(value)}: it takes {", ".join(sorted(_PREFIXES))}')
    return {name: _path(path, f'{key}.{name}') for name, path in value.items()}


def _metainfo(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f'has {key}={_short(value)}, which is no dict')
    if not value.keys() <= {*_NAMES, 'palette', 'label_map'}:
        raise UserError(f'has {key} with other entries than classes and palette')
    meta = dict(value)
    meta.pop('label_map', None)  # the data set makes its own
    for names in _NAMES:
        if not all(_is_name(name) for name in _list(meta.get(names, ()), f'{key}.{names}')):
            raise UserError(f'has {key}.{names}, which are no list of names')
    for colour in _list(meta.get('palette', ()), f'{key}.palette'):
        numbers = _list(colour, f'{key}.palette')
        if len(numbers) != 3 or not all(type(n) is int and 0 <= n < 256 for n in numbers):
            raise UserError(f'has {key}.palette, which is no list of three numbers below 256 each')
    return meta


def _list(value: Any, key: str) -> Any:
    if not isinstance(value, list | tuple) or len(value) > 10_000:
        raise UserError(f'has {key}={_short(value)}, which is no list')
    return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) < 200


_EXCEPTIONS: dict[str, Callable[[Any, str], Any]] = {
    'data_root': _path,
    'ann_file': _path,
    'seg_prefix': _path,
    'data_prefix': _prefixes,
    'metainfo': _metainfo,
}


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f'a {type(value).__name__}'
    return text if len(text) < 60 else f'{text[:57]}...'
