"""Released checkpoints convert with every key accounted for, or not at all."""

import pickle
import re
from collections import Counter, OrderedDict

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.apis import MMSegInferencer, init_model
from mmseg.models.backbones import SwinTransformer

from mmseg_faseg.apis import UserError, load_config, load_stored_config
from mmseg_faseg.apis.convert import convert, convert_file
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.checkpoints.convert.key_tables import DROPPED, TABLES, fits
from mmseg_faseg.checkpoints.convert.reader import read_released
from tests.helpers.full_size import NoRandomWeights
from tests.helpers.released import (
    blank,
    made_up,
    pvt_backbone,
    resnet_backbone,
    segformer,
    shapes_of,
    with_classes,
    with_queries,
    with_swin,
    without_faseg,
    write_tiny,
)
from tests.helpers.tools import call_tool

pytestmark = pytest.mark.full_size  # they save and load heads of full width
R50, SWIN_T = shapes_of('r50_ade20k'), shapes_of('swin-t_ade20k')
SWIN_B = with_swin(SWIN_T, 128, 18, 12)
SWIN_L = with_swin(SWIN_T, 192, 18, 12)
# Batch norm that is trained counts its steps.
CITYSCAPES = with_classes(R50, 19) | {
    key.replace('running_var', 'num_batches_tracked'): ()
    for key in R50
    if key.endswith('running_var')
}
RESNET_WIDTHS, SWIN_WIDTHS = (512, 1024, 2048), (384, 768, 1536)
SEGFORMERS = {
    'ResNet-50': segformer(resnet_backbone('50'), RESNET_WIDTHS),
    'ResNet-101': segformer(resnet_backbone('101'), RESNET_WIDTHS),
    'PVTv2-B5': segformer(pvt_backbone(), (128, 320, 512)),
    'Swin-L (window 7)': segformer(
        {
            key: shape
            for key, shape in with_swin(SWIN_T, 192, 18, 7).items()
            if key.startswith('backbone.') and 'norm0' not in key
        },
        SWIN_WIDTHS,
    ),
}
EXTRA = {'criterion.empty_weight': (151,), 'pixel_mean': (3, 1, 1), 'pixel_std': (3, 1, 1)}
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def blanks(shapes):
    return {key: blank(key, shape) for key, shape in shapes.items()}


def parameters(shapes):
    """Number of parameters, counted from the released keys."""
    buffers = ('running_mean', 'running_var', 'num_batches_tracked', 'relative_position_index')
    return sum(int(np.prod(s)) for key, s in shapes.items() if not key.endswith(buffers))


@pytest.fixture(scope='module')
def swin_b_only():
    """An ImageNet Swin-B as its repository publishes it, but for the numbers."""
    keys = {
        key.removeprefix('backbone.'): shape
        for key, shape in SWIN_B.items()
        if key.startswith('backbone.') and not key.startswith('backbone.norm')
    }
    keys |= {'norm.weight': (1024,), 'norm.bias': (1024,)}
    keys |= {'head.weight': (21841, 1024), 'head.bias': (21841,)}
    return keys | {f'layers.{s}.blocks.1.attn_mask': (4, 144, 144) for s in range(3)}


# Recognising and accounting


@pytest.mark.parametrize(
    ('shapes', 'config', 'model'),
    [
        (R50, 'faseg_r50_ade20k.py', 'FASeg, ResNet-50, 150 classes'),
        (SWIN_T, 'faseg_swin-t_ade20k.py', 'FASeg, Swin-T, 150 classes'),
        (SWIN_B, 'faseg_swin-b_ade20k.py', 'FASeg, Swin-B, 150 classes'),
        (SWIN_L, 'faseg_swin-l_ade20k.py', 'FASeg, Swin-L, 150 classes'),
        (CITYSCAPES, 'faseg_r50_cityscapes.py', 'FASeg, ResNet-50, 19 classes'),
        (
            without_faseg(SWIN_T),
            'mask2former_swin-t_8xb2-160k_ade20k-512x512.py',
            'Mask2Former, Swin-T, 150 classes',
        ),
        (
            without_faseg(SWIN_B),
            'mask2former_swin-b-in22k-384x384-pre_8xb2-160k_ade20k-640x640.py',
            'Mask2Former, Swin-B, 150 classes',
        ),
        (
            without_faseg(with_classes(R50, 19)),
            'mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
            'Mask2Former, ResNet-50, 19 classes',
        ),
        (
            without_faseg(with_classes(R50, 133)),
            'mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
            'Mask2Former, ResNet-50, 133 classes',
        ),
        (
            without_faseg(with_classes(R50, 80)),
            'mask2former_r50_8xb2-lsj-50e_coco.py',
            'Mask2Former, ResNet-50, 80 classes',
        ),
        (
            without_faseg(with_classes(with_queries(SWIN_L, 200), 133)),
            'mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic.py',
            'Mask2Former, Swin-L, 133 classes',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and ',' in value else '',
)
def test_every_key_is_accounted_for(shapes, config, model):
    released = blanks(shapes | EXTRA)
    released['pixel_mean'] = torch.tensor(MEAN)[:, None, None]
    released['pixel_std'] = torch.tensor(STD)[:, None, None]
    with NoRandomWeights():
        done = convert(released)
        own = build_model(done.config)
    assert str(done.model) == model
    assert done.config.filename.endswith(f'/{config}')
    assert sorted([*done.sources.values(), *done.dropped]) == sorted(released)
    assert set(done.dropped) == set(EXTRA)
    assert set(done.weights) | set(done.new) == set(own.state_dict())
    assert all(name.endswith('num_batches_tracked') for name in done.new)
    assert sum(p.numel() for p in own.parameters()) == parameters(shapes)
    own.load_state_dict(done.weights, strict=not done.new)


@pytest.mark.parametrize('backbone', SEGFORMERS)
def test_every_key_of_panoptic_segformer_is_accounted_for(backbone):
    released = blanks(SEGFORMERS[backbone])
    with NoRandomWeights():
        done = convert(released)
        own = build_model(done.config)
    assert str(done.model) == f'Panoptic SegFormer, {backbone}, 133 classes'
    named = [*done.sources.values(), *done.dropped]
    if backbone != 'PVTv2-B5':  # whose names MMDetection changes first
        assert sorted(named) == sorted(released)
    assert {key.split('.')[1] for key in done.dropped} == {'reg_branches2'}
    assert done.new == {}
    assert done.weights.keys() == own.state_dict().keys()
    unused = sum(released[key].numel() for key in done.dropped)
    assert sum(p.numel() for p in own.parameters()) == parameters(SEGFORMERS[backbone]) - unused
    own.load_state_dict(done.weights)


def test_panoptic_segformers_weights_get_to_their_places(tmp_path):
    """Of parts of one shape, each has its own; query and key-and-value of PVT are joined."""
    shapes = SEGFORMERS['PVTv2-B5']
    released = blanks(shapes)
    decoder, block = 'bbox_head.transformer.decoder.layers.3.', 'backbone.block2.1.'
    for place, ours in (
        (decoder + 'norms.1.weight', 'decoder.layers.3.norms.1.weight'),
        (decoder + 'attentions.1.value_proj.bias', 'decoder.layers.3.cross_attn.value_proj.bias'),
        ('bbox_head.stuff_query.weight', 'bbox_head.stuff_embedding.weight'),
        (block + 'mlp.fc2.bias', 'backbone.layers.1.1.1.ffn.layers.4.bias'),
        (block + 'attn.norm.weight', 'backbone.layers.1.1.1.attn.norm.weight'),
    ):
        released[place] = made_up(place, shapes[place])
        assert torch.equal(convert(released).weights[ours], released[place])
    for part in ('q', 'kv'):
        released[f'{block}attn.{part}.weight'] = made_up(part, shapes[f'{block}attn.{part}.weight'])
    torch.save(dict(meta=dict(epoch=24), state_dict=released), tmp_path / 'released.pth')
    done = convert_file(str(tmp_path / 'released.pth'), str(tmp_path / 'ours.pth'))
    expected = torch.cat([released[f'{block}attn.{part}.weight'] for part in ('q', 'kv')])
    assert torch.equal(done.weights['backbone.layers.1.1.1.attn.attn.in_proj_weight'], expected)
    meta = torch.load(tmp_path / 'ours.pth', weights_only=True)['meta']
    assert 'Apache-2.0' in meta['license']
    assert len(meta['dataset_meta']['classes']) == 133


def test_what_a_pvt_has_besides_is_accounted_for():
    released = blanks(SEGFORMERS['PVTv2-B5'] | {'backbone.head.bias': (1000,)})
    assert convert(released).dropped['backbone.head.bias'] == 'the ImageNet classifier'
    with pytest.raises(UserError, match='without a place: backbone.cls_token'):
        convert(released | {'backbone.cls_token': torch.zeros(1)})


def test_a_pvt_with_a_part_missing():
    released = blanks(SEGFORMERS['PVTv2-B5'])
    del released['backbone.block1.0.attn.kv.weight']
    with pytest.raises(UserError, match=r'no PVTv2: .*block1\.0\.attn\.kv\.weight'):
        convert(released)


@pytest.mark.parametrize('table', TABLES.values(), ids=map(str, TABLES))
def test_no_key_fits_two_rows(table):
    others = [key for shapes in SEGFORMERS.values() for key in shapes]
    for key in dict.fromkeys([*R50, *SWIN_L, *EXTRA, *others]):
        assert sum(fits(template, key) for template, _ in [*table, *DROPPED]) <= 1, key


# Backbones alone


def test_imagenet_swin_starts_a_backbone(swin_b_only, tmp_path):
    torch.save(dict(model=blanks(swin_b_only)), tmp_path / 'swin.pth')
    done = convert_file(str(tmp_path / 'swin.pth'), str(tmp_path / 'ours.pth'))
    assert str(done.model) == 'ImageNet, Swin-B'
    assert {key.removeprefix('backbone.') for key in done.dropped} == {
        *('norm.weight', 'norm.bias', 'head.weight', 'head.bias'),
        *(f'layers.{s}.blocks.1.attn_mask' for s in range(3)),
    }
    assert set(done.new) == {f'backbone.norm{i}.{p}' for i in range(4) for p in ('weight', 'bias')}
    settings = dict(done.config.model.backbone)
    settings.pop('type')
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    backbone = SwinTransformer(**settings)
    backbone.init_weights()
    after = backbone.state_dict()
    assert all(torch.equal(after[key], value) for key, value in done.weights.items())


def test_patch_merging_computes_what_the_original_does():
    """The original's formula, on made-up weights, beside the module with converted ones."""
    width, height = 4, 6
    weights = blanks(SWIN_T)
    prefix = 'backbone.layers.0.downsample.'
    for key in weights:
        if key.startswith(prefix):
            weights[key] = made_up(key, SWIN_T[key])
    done = convert(weights)
    module = init_model(done.config, device='cpu').backbone.stages[0].downsample
    ours = 'backbone.stages.0.downsample.'
    module.load_state_dict({k[len(ours) :]: v for k, v in done.weights.items() if ours in k})
    x = torch.randn(1, height, width, 96)
    merged = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
    expected = torch.nn.functional.layer_norm(
        merged, (384,), weights[prefix + 'norm.weight'], weights[prefix + 'norm.bias']
    )
    expected = (expected @ weights[prefix + 'reduction.weight'].T).flatten(1, 2)
    got, size = module(x.flatten(1, 2), (height, width))
    assert size == (height // 2, width // 2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


# Files


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A small FASeg config of ResNet-50's kind, and its shapes under the released names."""
    path = tmp_path_factory.mktemp('tiny') / 'tiny.py'
    return str(path), write_tiny(path)


@pytest.fixture(scope='module')
def tiny_weights(tiny):
    return {key: made_up(key, shape) for key, shape in tiny[1].items()}


@pytest.fixture(scope='module')
def few_weights(tiny_weights):
    """Enough of them for what asks only whether a file is read."""
    return dict(list(tiny_weights.items())[:20])


def save_pickle(checkpoint, path, protocol=4):
    with path.open('wb') as file:
        pickle.dump(checkpoint, file, protocol)


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_arrays_in_a_pickle_are_read_like_tensors(few_weights, tmp_path, protocol):
    arrays = OrderedDict((key, value.numpy()) for key, value in few_weights.items())
    checkpoint = dict(model=arrays, __author__='someone', matching_heuristics=True)
    save_pickle(checkpoint, tmp_path / 'released.pkl', protocol)
    torch.save(dict(model=few_weights, iteration=7), tmp_path / 'released.pth')
    torch.save(dict(model=dict(arrays)), tmp_path / 'arrays.pth')
    for name in ('released.pth', 'released.pkl', 'arrays.pth'):
        read = read_released(str(tmp_path / name))
        assert read.keys() == few_weights.keys()
        assert all(torch.equal(read[key], value) for key, value in few_weights.items())


def test_counters_in_arrays_stay_single_numbers(tmp_path):
    """Batch norm that is trained on Cityscapes counts its steps."""
    arrays = {key: value.numpy() for key, value in blanks(CITYSCAPES).items()}
    scalar = next(key for key in arrays if key.endswith('num_batches_tracked'))
    arrays[scalar] = np.int64(5)
    save_pickle(dict(model=arrays), tmp_path / 'released.pkl')
    done = convert(read_released(str(tmp_path / 'released.pkl')))
    assert done.new == {}
    assert done.weights['backbone.bn1.num_batches_tracked'] == 5


def test_prefix_of_data_parallel_training_goes(few_weights, tmp_path):
    weights = {f'module.{key}': value for key, value in few_weights.items()}
    torch.save(dict(model=weights), tmp_path / 'released.pth')
    assert read_released(str(tmp_path / 'released.pth')).keys() == few_weights.keys()


def test_what_detectron2_keeps_beside_the_weights_is_read(few_weights, tmp_path):
    beside = dict(scheduler=dict(milestones=Counter([1, 2]), last=np.float64(3)), iteration=7)
    arrays = {key: value.numpy() for key, value in few_weights.items()}
    torch.save(dict(model=few_weights, **beside), tmp_path / 'released.pth')
    save_pickle(dict(model=arrays, **beside), tmp_path / 'released.PKL')
    for name in ('released.pth', 'released.PKL'):
        assert read_released(str(tmp_path / name)).keys() == few_weights.keys()


def test_half_precision_becomes_the_models(tiny, tiny_weights):
    halves = {key: value.half() for key, value in tiny_weights.items()}
    done = convert(halves, tiny[0])
    assert {value.dtype for value in done.weights.values()} == {torch.float32}


def test_the_checkpoint_says_all_that_inference_needs(tiny, tiny_weights, tmp_path):
    torch.save(dict(model=tiny_weights), tmp_path / 'ade_faseg_r50.pth')
    ours = str(tmp_path / 'ours.pth')
    convert_file(str(tmp_path / 'ade_faseg_r50.pth'), ours, tiny[0])
    meta = torch.load(ours, weights_only=True)['meta']
    assert meta['converted_from']['file'] == 'ade_faseg_r50.pth'
    assert len(meta['converted_from']['sha256']) == 64
    assert 'CC BY-NC 4.0' in meta['license']
    assert len(meta['dataset_meta']['classes']) == len(meta['dataset_meta']['palette']) == 150
    cfg = load_stored_config(ours)
    head, given = cfg.model.decode_head, load_config(tiny[0]).model.decode_head
    assert all(given[key] == head[key] for key in head if 'loss' not in key)
    model = init_model(cfg, ours, device='cpu')
    assert list(model.dataset_meta['classes'][:2]) == ['wall', 'building']
    (sample,) = model.predict(torch.zeros(1, 3, 64, 64))
    assert sample.pred_sem_seg.shape == (64, 64)


def test_testing_and_inference_need_only_the_checkpoint(
    tiny, tiny_weights, tmp_path, monkeypatch, capsys
):
    torch.save(dict(model=tiny_weights), tmp_path / 'released.pth')
    ours = str(tmp_path / 'ours.pth')
    convert_file(str(tmp_path / 'released.pth'), ours, tiny[0])
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for folder, name, array in (
        ('images', 'one.jpg', image),
        ('annotations', 'one.png', np.ones((48, 64), dtype=np.uint8)),
    ):
        (tmp_path / folder / 'validation').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / 'validation' / name), array)
    options = ('--cfg-options', f'data_root={tmp_path}', 'test_dataloader.num_workers=0')
    options += ('test_dataloader.persistent_workers=False',)
    call_tool('test.py', ours, *options, monkeypatch=monkeypatch, cwd=tmp_path)
    assert 'aAcc' in capsys.readouterr().out
    inferencer = MMSegInferencer(model=None, weights=ours, device='cpu')
    prediction = inferencer(image, show=False)['predictions']
    assert prediction.shape == (48, 64)


def test_the_tool_prints_the_accounts_and_the_licence(
    tiny, tiny_weights, tmp_path, monkeypatch, capsys
):
    weights = tiny_weights | {'criterion.empty_weight': torch.ones(151)}
    torch.save(dict(model=weights), tmp_path / 'released.pth')
    arguments = ('released.pth', 'ours.pth', '--config', tiny[0])
    call_tool('convert_weights.py', *arguments, monkeypatch=monkeypatch, cwd=tmp_path)
    out = capsys.readouterr().out
    assert f'converted  {len(tiny_weights)} keys' in out
    assert 'dropped    criterion.empty_weight: class weights of the loss' in out
    assert 'num_batches_tracked and 52 like it: counts training steps' in out
    assert 'CC BY-NC 4.0' in out
    assert load_checkpoint(torch.nn.Module(), str(tmp_path / 'ours.pth'), strict=False)


# Bad input


class Foreign:
    pass


def without(weights, key):
    return {name: value for name, value in weights.items() if name != key}


QUERY = 'sem_seg_head.predictor.query_feat.weight'
CONV = 'backbone.res4.3.conv1.weight'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: without(w, CONV), r'nothing for: backbone\.layer3\.3\.conv1\.weight'),
        (lambda w: w | {'neck.conv.weight': torch.ones(1)}, 'without a place: neck.conv.weight'),
        (
            lambda w: {
                **w,
                f'{QUERY[:-17]}transformer_ffn_layers.13.norm.bias': torch.ones(256),
            },
            r'without a place: sem_seg_head\.predictor\.transformer_ffn_layers\.13\.norm\.bias',
        ),
        (
            lambda w: w | {QUERY: torch.ones(4, 256)},
            r'query_feat\.weight has shape \(4, 256\), expected \(3, 256\)',
        ),
        (
            lambda w: w | {QUERY.replace('query_feat', 'static_query'): torch.ones(3, 256)},
            'for the same place: .*query_feat.weight, .*static_query.weight',
        ),
        (
            lambda w: w | {QUERY: torch.full((3, 256), torch.nan)},
            'query_feat.weight holds values that are not finite',
        ),
        (lambda w: w | {'pixel_mean': torch.tensor([103.53, 116.28, 123.675])}, 'pixel_mean is'),
        (lambda w: w | {QUERY: 'text'}, 'query_feat.weight is no dense tensor .* but str'),
        (lambda w: without(w, f'{QUERY[:-17]}class_embed.bias'), 'class_embed.bias is missing'),
        (lambda w: {k: v for k, v in w.items() if 'sem_seg' not in k}, 'neither FASeg nor'),
        (lambda w: {k: v for k, v in w.items() if 'backbone' not in k}, 'unknown backbone'),
        (lambda w: {}, "no weights under 'model'"),
        (lambda w: w | {5: torch.ones(1)}, 'the key 5 is no name'),
        (lambda w: w | {QUERY: torch.ones(3, 256).to_sparse()}, 'asks for torch.serialization'),
        (lambda w: w | {QUERY: torch.ones(3, 256, dtype=torch.complex64)}, 'of real numbers'),
        (lambda w: w | {QUERY: torch.ones(3, 256, dtype=int)}, 'holds torch.int64, expected'),
    ],
)
def test_what_does_not_fit_is_named(tiny, tiny_weights, tmp_path, change, message):
    torch.save(dict(model=change(dict(tiny_weights))), tmp_path / 'released.pth')
    ours = tmp_path / 'ours.pth'
    ours.write_bytes(b'precious')
    with pytest.raises(UserError, match=message):
        convert_file(str(tmp_path / 'released.pth'), str(ours), tiny[0])
    assert ours.read_bytes() == b'precious'
    assert {path.name for path in tmp_path.iterdir()} == {'released.pth', 'ours.pth'}


def test_the_source_is_never_overwritten(tiny, tiny_weights, tmp_path):
    file = tmp_path / 'released.pth'
    torch.save(dict(model=tiny_weights), file)
    before = file.read_bytes()
    with pytest.raises(UserError, match='released.pth is the file to convert'):
        convert_file(str(file), str(file), tiny[0])
    with pytest.raises(UserError, match='there is no checkpoint .*none.pth'):
        convert_file(str(tmp_path / 'none.pth'), str(file), tiny[0])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ('model = dict(', 'SyntaxError'),
        ('1 / 0', 'ZeroDivisionError'),
        ('optimizer = dict()', 'has no model with a backbone'),
        ("model = dict(type='NoSuchModel', backbone=dict())", "no part .* called 'NoSuchModel'"),
    ],
)
def test_unusable_configs_are_named(tiny_weights, tmp_path, config, message):
    (tmp_path / 'broken.py').write_text(config)
    with pytest.raises(UserError, match=f'broken.py.*{message}'):
        convert(tiny_weights, str(tmp_path / 'broken.py'))


def test_a_model_without_a_config_of_ours():
    with pytest.raises(UserError, match='no config .* FASeg, ResNet-50, 3 classes.*--config'):
        convert(blanks(with_classes(R50, 3)))


def test_a_config_for_other_classes_is_refused(tmp_path):
    cfg = load_config('mmseg_faseg::faseg_r50_ade20k.py', {'model.decode_head.num_classes': 3})
    cfg.dump(tmp_path / 'three.py')
    message = 'FASeg, ResNet-50, 3 classes.*ADE20KDataset in .*three.py has 150 classes'
    with pytest.raises(UserError, match=message):
        convert(blanks(with_classes(R50, 3)), str(tmp_path / 'three.py'))


def test_another_architecture_than_the_config_is_refused(tiny_weights):
    with pytest.raises(UserError, match='FASeg, ResNet-50, 150 classes does not fit .*swin-t'):
        convert(tiny_weights, 'mmseg_faseg::faseg_swin-t_ade20k.py')


class Command:
    """Would run a command where it is unpickled carelessly."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize('suffix', ['.pkl', '.pth'])
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'released.* is not loaded'),
        (b'not a checkpoint at all', 'released.* is not loaded'),
        (b'\x80\x04\x95' + bytes(40), 'released.* is not loaded'),
    ],
)
def test_no_checkpoint(tmp_path, suffix, content, message):
    (tmp_path / f'released{suffix}').write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_released(str(tmp_path / f'released{suffix}'))


def test_cut_off_files(few_weights, tmp_path):
    torch.save(dict(model=few_weights), tmp_path / 'whole.pth')
    arrays = {key: value.numpy() for key, value in few_weights.items()}
    save_pickle(dict(model=arrays), tmp_path / 'whole.pkl')
    for suffix in ('.pth', '.pkl'):
        data = (tmp_path / f'whole{suffix}').read_bytes()
        for size in (1, 100, len(data) // 2, len(data) - 1):
            (tmp_path / f'cut{suffix}').write_bytes(data[:size])
            with pytest.raises(UserError, match=f'cut{suffix} is not loaded'):
                read_released(str(tmp_path / f'cut{suffix}'))


def test_objects_in_the_pickle_are_named_and_not_made(tmp_path):
    for value, name in ((Command(tmp_path / 'made'), 'posix.mkdir'), (Foreign(), 'Foreign')):
        save_pickle(dict(model=dict(weight=value)), tmp_path / 'released.pkl')
        torch.save(dict(model=dict(weight=value)), tmp_path / 'released.pth')
        for suffix in ('.pkl', '.pth'):
            with pytest.raises(UserError, match=f'not loaded: .*{name}'):
                read_released(str(tmp_path / f'released{suffix}'))
    assert not (tmp_path / 'made').exists()


def test_arrays_of_objects_are_refused(tmp_path):
    save_pickle(dict(model=dict(weight=np.array([None]))), tmp_path / 'released.pkl')
    with pytest.raises(UserError, match='an array is of type .O8., not of numbers'):
        read_released(str(tmp_path / 'released.pkl'))


def test_an_openmmlab_checkpoint_is_no_released_one(trained):
    with pytest.raises(UserError, match='neither FASeg nor Mask2Former .* the first keys are'):
        convert_file(str(trained.checkpoint), str(trained.checkpoint.with_name('ours.pth')))


@pytest.mark.parametrize(
    ('source', 'target', 'message'),
    [
        ('none.pth', 'ours.pth', 'there is no checkpoint none.pth'),
        ('none.pkl', 'ours.pth', 'there is no checkpoint none.pkl'),
        ('none.pth', 'ours.pkl', r'must end in \.pth, got ours\.pkl'),
        ('none.pth', 'nowhere/ours.pth', 'there is no folder nowhere'),
    ],
)
def test_bad_paths_exit_with_2(source, target, message, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        call_tool('convert_weights.py', source, target, monkeypatch=monkeypatch, cwd=tmp_path)
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ')
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []
