"""What a run writes keeps the subfolders of its images."""

import shutil
import sys
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_faseg import apis
from tests.helpers.tools import run

STOCK_TEST = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'
HOOK = "custom_hooks = [dict(type='OutputNamesHook')]"
EXPECTED = {'a/0', 'b/0', 'b/1'}


@pytest.fixture
def subfolders(tiny_data, tmp_path) -> Path:
    """Data root with images of one name in two folders."""
    root = tmp_path / 'data'
    for index, name in enumerate(sorted(EXPECTED)):
        for kind in ('images', 'labels'):
            file = root / kind / f'{name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tiny_data / kind / f'{index}.png', file)
    return root


@pytest.fixture
def config(write_config, subfolders, tmp_path) -> Path:
    loaders = ('train', 'val', 'test')
    roots = [f"{name}_dataloader['dataset']['data_root'] = {str(subfolders)!r}" for name in loaders]
    return write_config(tmp_path / 'sub.py', '\n'.join([HOOK, *roots]))


def named(folder: Path, pattern: str = '*.png') -> set[str]:
    return {str(file.relative_to(folder).with_suffix('')) for file in folder.rglob(pattern)}


@pytest.mark.parametrize('wrapper', [None, 'RepeatDataset', 'ConcatDataset'])
def test_test_keeps_subfolders(config, trained, tmp_path, wrapper):
    cfg = apis.load_config(str(config))
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = f'subfolders_{wrapper}'  # MMEngine keeps one of a name per process
    dataset = cfg.test_dataloader.dataset
    if wrapper == 'RepeatDataset':
        cfg.test_dataloader.dataset = dict(type=wrapper, times=2, dataset=dataset)
    elif wrapper == 'ConcatDataset':
        parts = [{**dataset, 'data_prefix': prefix(name)} for name in 'ab']
        cfg.test_dataloader.dataset = dict(type=wrapper, datasets=parts)
    out, painted = tmp_path / 'labels', tmp_path / 'painted'
    metrics = apis.test(cfg, str(trained.checkpoint), out=str(out), show_dir=str(painted))
    assert metrics['mIoU'] > 0
    assert named(out) == EXPECTED
    (images,) = painted.rglob('vis_image')
    assert named(images) == {'a/test_0.png_0', 'b/test_0.png_0', 'b/test_1.png_0'}


def prefix(name: str) -> dict:
    return dict(img_path=f'images/{name}', seg_map_path=f'labels/{name}')


def test_validation_keeps_subfolders(config, tmp_path):
    cfg = Config.fromfile(config)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = 'validation_of_subfolders'
    cfg.default_hooks.visualization.update(draw=True, interval=1)
    cfg.val_evaluator.output_dir = str(tmp_path / 'labels')
    Runner.from_cfg(cfg).train()  # validates after 2 and 4 iterations
    assert named(tmp_path / 'labels') == EXPECTED
    (images,) = (tmp_path / 'work').rglob('vis_image')
    assert {name for name in named(images) if name.endswith('_4')} == {
        'a/val_0.png_4', 'b/val_0.png_4', 'b/val_1.png_4',
    }  # fmt: skip


@pytest.mark.subprocess
def test_stock_test_tool_keeps_subfolders(config, trained, tmp_path):
    result = run(
        sys.executable, STOCK_TEST, config, trained.checkpoint, '--out', 'labels',
        '--show-dir', 'painted', '--cfg-options', 'default_hooks.visualization.interval=1',
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert named(tmp_path / 'labels') == EXPECTED
    assert len(list(tmp_path.rglob('vis_image/?/test_?.png_0.png'))) == 3


def test_our_configs_have_the_hook():
    cfg = Config.fromfile('mmseg_faseg::faseg_toy.py')
    assert 'OutputNamesHook' in [hook.type for hook in cfg.custom_hooks]
