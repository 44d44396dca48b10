"""The defaults give the numbers of the authors' released code: see tests/data/parity/README.md."""

import re
import zlib
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from .small import CONFIGS, DEVICES

FOLDER = Path(__file__).parents[1] / 'data' / 'parity'
NAME = 'r50_ade20k_320x256'

# The released code's names and ours, in the order in which they are replaced.
NAMES = [
    (r'^backbone\.stem\.conv1\.norm', 'backbone.bn1'),
    (r'^backbone\.stem\.conv1', 'backbone.conv1'),
    (r'^backbone\.res2', 'backbone.layer1'),
    (r'^backbone\.res3', 'backbone.layer2'),
    (r'^backbone\.res4', 'backbone.layer3'),
    (r'^backbone\.res5', 'backbone.layer4'),
    (r'^(backbone.*)\.shortcut\.norm', r'\1.downsample.1'),
    (r'^(backbone.*)\.shortcut', r'\1.downsample.0'),
    (r'^(backbone.*)\.conv(\d)\.norm', r'\1.bn\2'),
    (r'^sem_seg_head\.pixel_decoder', 'decode_head.pixel_decoder'),
    (r'^sem_seg_head\.predictor', 'decode_head'),
    (r'input_proj\.3\.0', 'position_convs.0.conv'),
    (r'input_proj\.3\.1', 'position_convs.0.gn'),
    (r'input_proj\.(\d)\.0', r'input_convs.\1.conv'),
    (r'input_proj\.(\d)\.1', r'input_convs.\1.gn'),
    (r'pos_linear', 'positional_encoding.convs'),
    (r'pixel_decoder\.transformer\.level_embed', 'pixel_decoder.level_encoding.weight'),
    (r'pixel_decoder\.transformer\.encoder', 'pixel_decoder.encoder'),
    (r'(encoder.*)\.norm1', r'\1.norms.0'),
    (r'(encoder.*)\.norm2', r'\1.norms.1'),
    (r'mask_features', 'mask_feature'),
    (r'adapter_1\.weight', 'lateral_convs.0.conv.weight'),
    (r'adapter_1\.norm', 'lateral_convs.0.gn'),
    (r'layer_1\.weight', 'output_convs.0.conv.weight'),
    (r'layer_1\.norm', 'output_convs.0.gn'),
    (r'transformer_cross_attention_layers\.(\d+)\.norm', r'transformer_decoder.layers.\1.norms.0'),
    (r'transformer_self_attention_layers\.(\d+)\.norm', r'transformer_decoder.layers.\1.norms.1'),
    (r'transformer_ffn_layers\.(\d+)\.norm', r'transformer_decoder.layers.\1.norms.2'),
    (
        r'transformer_cross_attention_layers\.(\d+)\.multihead_attn',
        r'transformer_decoder.layers.\1.cross_attn.attn',
    ),
    (
        r'transformer_self_attention_layers\.(\d+)\.self_attn',
        r'transformer_decoder.layers.\1.self_attn.attn',
    ),
    (r'transformer_ffn_layers\.(\d+)', r'transformer_decoder.layers.\1'),
    (r'(layers\.\d+)\.linear1', r'\1.ffn.layers.0.0'),
    (r'(layers\.\d+)\.linear2', r'\1.ffn.layers.1'),
    (r'decoder_norm', 'transformer_decoder.post_norm'),
    (r'class_embed', 'cls_embed'),
    (r'mask_embed\.layers\.0', 'mask_embed.0'),
    (r'mask_embed\.layers\.1', 'mask_embed.2'),
    (r'mask_embed\.layers\.2', 'mask_embed.4'),
    (r'adapt_pos2d', 'positional_query.mlp'),
]


def our_name(key: str) -> str:
    for pattern, name in NAMES:
        key = re.sub(pattern, name, key)
    return key


def made_up_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    n = generator.standard_normal(shape, dtype=np.float32)
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'running_var':
        n = 1 + 0.1 * abs(n)
    elif leaf == 'running_mean':
        n = 0.05 * n
    elif 'sampling_offsets.bias' in key:
        n = 2 * n
    elif len(shape) == 1:
        n = 1 + 0.1 * n if leaf == 'weight' else 0.05 * n
    elif not any(name in key for name in ('query_feat', 'query_embed', 'level_embed')):
        n = n / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n, dtype=np.float32))


@pytest.fixture(scope='module')
def keys():
    lines = (FOLDER / 'r50_ade20k.keys.tsv').read_text().splitlines()
    return {key: literal_eval(shape) for key, shape, _ in (line.split('\t') for line in lines)}


@pytest.fixture(scope='module')
def model(keys):
    config = Config.fromfile(f'{CONFIGS}/faseg_r50_ade20k.py').model
    config.backbone.init_cfg = None
    config.backbone.norm_cfg.type = 'BN'
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config)
    weights = {our_name(key): made_up_weight(key, shape) for key, shape in keys.items()}
    assert len(weights) == len(keys)
    result = model.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys
    assert all('num_batches_tracked' in key for key in result.missing_keys)
    return model.eval()


@pytest.mark.parametrize('device', DEVICES)
def test_predictions_and_gradients(model, keys, device):
    model = model.to(device)
    model.zero_grad()
    reference = np.load(FOLDER / f'{NAME}.npz')
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f'image:{NAME}'.encode())))
    image = torch.from_numpy(generator.standard_normal((1, 3, 320, 256), dtype=np.float32))
    image = image.to(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        class_logits, mask_logits = model(image)
    for name, got in {
        'pred_logits': torch.stack(class_logits),
        'aux_mask_mean': torch.stack(mask_logits).mean((-2, -1)),
        'pred_masks': mask_logits[-1],
    }.items():
        expected = torch.from_numpy(reference[name])
        torch.testing.assert_close(got.cpu(), expected, rtol=0, atol=1e-4, msg=name)

    (class_logits[-1].square().mean() + mask_logits[-1].square().mean()).backward()
    params = dict(model.named_parameters())
    compared = 0
    for key in keys:
        if f'grad_l2/{key}' in reference:
            got = params[our_name(key)].grad.norm()
            assert got.item() == pytest.approx(float(reference[f'grad_l2/{key}']), rel=0.01), key
            compared += 1
    assert compared > 0

    labels = model.predict(image)[0].pred_sem_seg.data
    assert (labels.cpu().numpy() == reference['sem_label'][0]).mean() > 0.9999
