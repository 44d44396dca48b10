"""A checkpoint's own config is enough to test it, and is read without running it."""

import pytest
import torch
from mmengine.config import Config

from mmseg_faseg.apis import UserError, load_config, load_stored_config
from mmseg_faseg.apis.model import build_model
from tests.helpers.full_size import NoRandomWeights
from tests.helpers.optional import NO_TIMM
from tests.helpers.tools import REPOSITORY, call_tool


def test_the_tool_needs_no_config(trained, tmp_path, monkeypatch, capsys):
    call_tool('test.py', trained.checkpoint, monkeypatch=monkeypatch, cwd=tmp_path)
    # not the folder of the run that wrote it
    assert (tmp_path / 'work_dirs' / 'iter_2').is_dir()
    assert 'mIoU' in capsys.readouterr().out


@pytest.mark.parametrize('order', ['{config} {options} {checkpoint}', '{options} {checkpoint}'])
def test_options_stand_anywhere(trained, tmp_path, monkeypatch, order):
    arguments = order.format(
        config=trained.config, checkpoint=trained.checkpoint, options='--work-dir here'
    )
    call_tool('test.py', *arguments.split(), monkeypatch=monkeypatch, cwd=tmp_path)
    assert list((tmp_path / 'here').iterdir())


def test_it_is_the_config_of_the_training(trained):
    stored = load_stored_config(str(trained.checkpoint), {'log_level': 'DEBUG'})
    given = load_config(str(trained.config))
    assert stored.log_level == 'DEBUG'
    head = stored.model.decode_head
    assert all(given.model.decode_head[key] == head[key] for key in head if 'loss' not in key)
    assert build_model(stored).state_dict().keys() == build_model(given).state_dict().keys()
    assert stored.test_dataloader == given.test_dataloader
    assert stored.test_pipeline == given.test_pipeline


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        (None, 'carries no config'),
        (dict(), 'carries no config'),
        (dict(cfg=3), 'carries no config'),
        (dict(cfg='import os'), 'more than literals.*line 1'),
        (dict(cfg="a = 1\nb = print('run')"), 'more than literals'),
        (dict(cfg='a = dict(**{})'), 'more than literals'),
        (dict(cfg='a = ('), 'more than literals'),
        (dict(cfg='a = ' + '[' * 5000), 'more than literals'),
        (dict(cfg='a = {[]: 1}'), 'more than literals'),
        (dict(cfg='a = 1'), 'has no model'),
        (dict(cfg='model = dict()'), 'has no test_dataloader'),
    ],
)
def test_other_configs_are_refused(tmp_path, meta, message, capsys):
    torch.save(dict(state_dict={}, meta=meta), tmp_path / 'strange.pth')
    with pytest.raises(UserError, match=f'strange.pth.*{message}|{message}.*'):
        load_stored_config(str(tmp_path / 'strange.pth'))
    assert 'run' not in capsys.readouterr().out


# What a config file may do, and a config that came with a checkpoint may not.
EVIL = "__import__('os').mkdir('made')"
HOSTILE = {
    "model.type = 'os.mkdir'": 'model.type',
    "model.backbone = dict(type='os.mkdir', path='made')": 'model.backbone.type',
    'model.decode_head.evil = 1': 'decode_head.evil',
    f'model.decode_head.high_res_attn.region = {EVIL!r}': 'high_res_attn.region',
    'model.backbone.init_cfg = dict(type="Pretrained", checkpoint="http://host/x")': '',
    "model.mask2former = 'http://host/x'": '',
    "model.data_preprocessor.type = 'os.mkdir'": 'data_preprocessor.type',
    f"model.decode_head.train_cfg = dict(assigner=dict(type='mmdet.X', warp_mode={EVIL!r}))": '',
    "model.backbone.norm_cfg = dict(type='mmcv.Config.fromfile', filename='x.py')": 'norm_cfg.type',
    "model.backbone.plugins = [dict(cfg=dict(type='ContextBlock'))]": 'backbone.plugins',
    'model.decode_head.num_queries = 10**12': 'num_queries',
    'model.decode_head.num_classes = 10**5': 'num_classes',
    "model.backbone = dict(type='TimmFeatures', model_name='hf-hub:me/evil')": 'model_name',
    "model.backbone = dict(type='TimmFeatures', checkpoint_path='x.pth')": 'checkpoint_path',
    "test_pipeline = [dict(type='LoadBiomedicalImageFromFile', decode_backend='pickle')]": (
        r'test_pipeline.type'
    ),
    "test_dataloader.dataset.pipeline = [dict(type='mmseg.LoadBiomedicalAnnotation')]": (
        'pipeline.type'
    ),
    "test_dataloader.dataset.pipeline[0].imdecode_backend = 'tifffile'": 'imdecode_backend',
    "test_dataloader.dataset.data_root = 's3://bucket/x'": 'data_root',
    "test_dataloader.dataset.data_root = '/dev'": 'data_root',
    "test_dataloader.dataset.data_prefix.img_path = '../../x'": 'data_prefix.img_path',
    "test_dataloader.dataset.data_prefix = 'x'": 'data_prefix',
    "test_dataloader.dataset.metainfo = 'x.txt'": 'metainfo',
    "test_dataloader.dataset.metainfo.classes = 'x.txt'": 'metainfo.classes',
    "test_dataloader.dataset.backend_args = dict(backend='petrel')": '',
    'test_dataloader.num_workers = 100_000': 'num_workers',
    "test_dataloader.worker_init_fn = dict(type='os.mkdir')": '',
    "test_dataloader.collate_fn = dict(type='os.mkdir', path='made')": '',
    "test_dataloader.batch_sampler = dict(type='os.mkdir')": 'batch_sampler',
    "test_dataloader.sampler = dict(type='os.mkdir', path='made')": 'sampler.type',
    "test_evaluator = dict(type='DumpResults', out_file_path='made')": 'test_evaluator.type',
    "test_evaluator = dict(type='IoUMetric', output_dir='made')": 'test_evaluator.output_dir',
    "test_evaluator = [dict(type='os.mkdir', path='made')]": 'test_evaluator.type',
    "tta_model = dict(type='os.mkdir', path='made')": 'tta_model.type',
    "custom_imports = dict(imports=['antigravity'])": '',
    "custom_hooks = [dict(type='os.mkdir', path='made')]": '',
    "default_hooks = dict(logger=dict(type='os.mkdir', path='made'))": '',
    "runner_type = 'os.mkdir'": '',
    "visualizer = dict(type='os.mkdir', path='made')": '',
    "vis_backends = [dict(type='LocalVisBackend', config_save_file='made')]": '',
    "env_cfg = dict(mp_cfg=dict(mp_start_method='evil'))": '',
    "log_processor = dict(type='os.mkdir', path='made')": '',
    "test_cfg = dict(type='os.mkdir', path='made')": '',
    "optim_wrapper = dict(type='os.mkdir', path='made')": '',
    "work_dir = 'made'": '',
}


def hostile(trained, folder, change):
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    cfg = load_config(str(trained.config))
    exec(change, vars(cfg)['_cfg_dict'])
    cfg.pop('__builtins__', None)
    checkpoint['meta']['cfg'] = Config(cfg.to_dict()).pretty_text
    torch.save(checkpoint, folder / 'hostile.pth')
    return str(folder / 'hostile.pth')


@pytest.mark.parametrize('change', HOSTILE)
def test_what_is_not_on_the_list_is_refused_or_not_read(trained, tmp_path, change):
    """Refused where it is about model, data or metric; else the config is as without it."""
    file = hostile(trained, tmp_path, change)
    if not HOSTILE[change]:
        expected = load_stored_config(hostile(trained, tmp_path, ''))
        hostile(trained, tmp_path, change)
        assert dict(load_stored_config(file).items()) == dict(expected.items())
        return
    with pytest.raises(UserError, match=f'hostile.pth has .*{HOSTILE[change]}.*--trust') as error:
        load_stored_config(file)
    assert len(str(error.value).splitlines()) == 1


def test_the_tool_says_so_in_one_line(trained, tmp_path, monkeypatch, capsys):
    hostile(trained, tmp_path, "test_evaluator = dict(type='DumpResults', out_file_path='made')")
    with pytest.raises((SystemExit, UserError)):
        call_tool('test.py', 'hostile.pth', monkeypatch=monkeypatch, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {'hostile.pth'}


def test_trust_takes_it_as_it_is_written(trained, tmp_path, monkeypatch, capsys):
    change = "custom_hooks = [dict(type='mmengine.mkdir_or_exist', dir_name='made')]"
    file = hostile(trained, tmp_path, change)
    stored = load_stored_config(file, trust=True)
    assert stored.custom_hooks == [dict(type='mmengine.mkdir_or_exist', dir_name='made')]
    assert stored.model.to_dict() == load_config(str(trained.config)).model.to_dict()
    call_tool('test.py', trained.checkpoint, '--trust', monkeypatch=monkeypatch, cwd=tmp_path)
    assert 'mIoU' in capsys.readouterr().out


def test_trust_reads_literals_all_the_same(tmp_path):
    torch.save(dict(meta=dict(cfg="model = print('run')")), tmp_path / 'strange.pth')
    with pytest.raises(UserError, match='more than literals'):
        load_stored_config(str(tmp_path / 'strange.pth'), trust=True)


CONFIGS = [
    path
    for folder in ('configs', 'configs/ablation')
    for path in sorted((REPOSITORY / folder).glob('*.py'))
]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_ours_is_on_the_list(tmp_path, path):
    given = load_config(str(path))
    torch.save(dict(meta=dict(cfg=given.pretty_text)), tmp_path / 'stored.pth')
    stored = load_stored_config(str(tmp_path / 'stored.pth'))
    for part in ('test_pipeline', 'tta_pipeline', 'test_evaluator', 'test_dataloader'):
        assert stored.get(part) == given.get(part)
    assert stored.default_scope == given.default_scope
    hooks = [cfg.default_hooks.visualization.type for cfg in (stored, given)]
    assert hooks[0] == hooks[1]
    for part, ours in given.model.items():
        theirs = stored.model.get(part)
        if not isinstance(ours, dict) or theirs is None:
            assert theirs == ours or part == 'train_cfg'
            continue
        left = {key for key in ours if key not in theirs}
        assert left <= {
            *('init_cfg', 'train_cfg', 'mask_pilot', 'with_cp', 'sync_cls_avg_factor'),
            *('batch_augments', 'convert_weights'),
        }
        assert all(theirs[key] == ours[key] for key in theirs if 'loss' not in key)


DETECTORS = ['faseg_lite0_nuclei-panoptic', 'mask2former_lite0_nuclei-instance']
DETECTORS += ['panoptic-segformer_r50_coco-panoptic']


@pytest.mark.full_size
@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_are_built(tmp_path, name):
    given = load_config(f'configs/{name}.py')
    if given.model.backbone.type == 'TimmFeatures':
        pytest.importorskip('timm', reason=NO_TIMM)
    torch.save(dict(meta=dict(cfg=given.pretty_text)), tmp_path / 'detector.pth')
    stored = load_stored_config(str(tmp_path / 'detector.pth'))
    with NoRandomWeights():
        models = [build_model(cfg) for cfg in (stored, given)]
    assert models[0].state_dict().keys() == models[1].state_dict().keys()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model.panoptic_head.type': 'os.mkdir'}, 'panoptic_head.type'),
        ({'model.panoptic_head.num_things_classes': 10**5}, 'num_things_classes'),
        ({'model.panoptic_head.num_stuff_classes': '1'}, "num_stuff_classes='1'"),
        ({'test_evaluator.0.outfile_prefix': 'made'}, 'outfile_prefix'),
        ({'test_evaluator.0.ann_file': 'http://host/x.json'}, 'ann_file'),
        ({'test_evaluator.0.seg_prefix': '../x'}, 'seg_prefix'),
        ({'test_evaluator.2.metrics': [dict(type='DumpResults')]}, 'metrics.type'),
        ({'test_dataloader.dataset.data_prefix.img': 's3://x'}, 'data_prefix.img'),
        ({'test_dataloader.dataset.metainfo.thing_classes': 'x.txt'}, 'thing_classes'),
    ],
)
def test_what_a_detector_may_not_ask_for(tmp_path, change, message):
    given = load_config('configs/faseg_lite0_nuclei-panoptic.py')
    given.merge_from_dict(change)
    torch.save(dict(meta=dict(cfg=given.pretty_text)), tmp_path / 'detector.pth')
    with pytest.raises(UserError, match=f'has .*{message}.*--trust'):
        load_stored_config(str(tmp_path / 'detector.pth'))


@pytest.mark.parametrize('name', ['faseg_toy', 'faseg_toy-panoptic'])
def test_toy_scenes_are_painted_where_we_say(tmp_path, name):
    """The data set makes its files; metrics read them there."""
    given = load_config(f'configs/{name}.py', {'data_root': str(tmp_path / 'elsewhere')})
    torch.save(dict(meta=dict(cfg=given.pretty_text)), tmp_path / 'toy.pth')
    stored = load_stored_config(str(tmp_path / 'toy.pth'))
    assert stored.test_dataloader.dataset.data_root == 'data/toy_scenes'
    assert stored.test_evaluator == load_config(f'configs/{name}.py').test_evaluator


def test_an_address_is_refused():
    with pytest.raises(UserError, match='https://host/x.pth is an address'):
        load_stored_config('https://host/x.pth')
