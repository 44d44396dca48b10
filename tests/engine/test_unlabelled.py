"""Predicting needs no labels."""

import shutil
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_faseg import apis
from mmseg_faseg.engine import DataMismatchError, UnlabelledTestError
from tests.helpers.tools import call_tool, run

STOCK_TEST = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'
TTA = """
tta_model = dict(type='{tta_model}')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=1.0, keep_ratio=True)],
            [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
"""
NO_LABELS = 'no image of the test set has labels'


@pytest.fixture
def images(tiny_data, tmp_path) -> Path:
    """Data root without labels."""
    root = tmp_path / 'data'
    shutil.copytree(tiny_data / 'images', root / 'images')
    return root


@pytest.fixture
def config(write_config, images, tmp_path) -> Path:
    """The tiny model's config with our hooks, which tests on images without labels."""
    return write_config(
        tmp_path / 'unlabelled.py',
        "custom_hooks = [dict(type='UnlabelledTestHook'), dict(type='DataCheckHook')]\n"
        "test_dataloader['dataset'] = dict(**dataset, pipeline=test_pipeline)\n"
        f"test_dataloader['dataset']['data_root'] = {str(images)!r}\n"
        + TTA.format(tta_model='FASegTTAModel'),
    )


@pytest.fixture
def cfg(config, tmp_path, request) -> Config:
    cfg = apis.load_config(str(config))
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer.name = request.node.name  # MMEngine keeps one of a name per process
    return cfg


def is_predicted(folder: Path) -> bool:
    shapes = [np.array(Image.open(file)).shape for file in folder.glob('*.png')]
    return shapes == [(64, 64)] * 5


def in_a_wrapper(dataset) -> dict:
    halves = [{**dataset, 'indices': indices} for indices in ([0, 1], [2, 3, 4])]
    return dict(type='ConcatDataset', datasets=halves)


@pytest.mark.parametrize('tta_model', [None, 'FASegTTAModel', 'SegTTAModel'])
@pytest.mark.parametrize('wrapped', [False, True])
def test_label_maps_are_written_and_nothing_is_evaluated(
    cfg, trained, tmp_path, tta_model, wrapped
):
    cfg.tta_model.type = tta_model
    if wrapped:
        cfg.test_dataloader.dataset = in_a_wrapper(cfg.test_dataloader.dataset)
    out = str(tmp_path / 'out')
    metrics = apis.test(cfg, str(trained.checkpoint), out=out, tta=tta_model is not None)
    assert metrics == {}
    assert is_predicted(tmp_path / 'out')
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert log.read_text().count(NO_LABELS) == 1


def test_predictions_are_those_with_labels(cfg, trained, tiny_data, tmp_path):
    apis.test(cfg, str(trained.checkpoint), out=str(tmp_path / 'without'))
    labelled = apis.load_config(str(trained.config))
    labelled.work_dir = str(tmp_path / 'work')
    apis.test(labelled, str(trained.checkpoint), out=str(tmp_path / 'with'))
    for file in (tmp_path / 'with').iterdir():
        assert file.read_bytes() == (tmp_path / 'without' / file.name).read_bytes()


def test_paintings_alone_are_enough(cfg, trained, tmp_path):
    metrics = apis.test(cfg, str(trained.checkpoint), show_dir=str(tmp_path / 'painted'))
    assert metrics == {}
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 5


def test_a_dump_of_predictions_is_enough(cfg, trained, tmp_path):
    dump = dict(type='DumpResults', out_file_path=str(tmp_path / 'all.pkl'))
    cfg.test_evaluator = [cfg.test_evaluator, dump]
    apis.test(cfg, str(trained.checkpoint))
    assert (tmp_path / 'all.pkl').stat().st_size > 0


@pytest.mark.parametrize('listed', [True, False])
def test_without_a_label_folder_in_the_config(cfg, trained, tmp_path, listed):
    cfg.test_dataloader.dataset.data_prefix.pop('seg_map_path')
    if not listed:
        cfg.test_dataloader.dataset.pipeline.pop(1)
    apis.test(cfg, str(trained.checkpoint), out=str(tmp_path / 'out'))
    assert is_predicted(tmp_path / 'out')


def test_format_only_of_the_config_goes_on_working(cfg, trained, tmp_path):
    cfg.test_evaluator.update(format_only=True, output_dir=str(tmp_path / 'out'))
    apis.test(cfg, str(trained.checkpoint))
    assert is_predicted(tmp_path / 'out')


def test_loaders_inside_other_transforms_are_left_out(cfg, trained, tmp_path):
    inner = [dict(type='LoadAnnotations')]
    cfg.test_dataloader.dataset.pipeline[1] = dict(
        type='RandomApply', prob=1.0, transforms=[dict(type='RandomChoice', transforms=[inner])]
    )
    apis.test(cfg, str(trained.checkpoint), out=str(tmp_path / 'out'))
    assert is_predicted(tmp_path / 'out')


def test_evaluating_is_refused_in_one_line(config, trained, images, tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit):
        call_tool('test.py', config, trained.checkpoint, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if NO_LABELS in line]
    assert line.startswith('error: ')
    assert f'{images}/labels/0.png: no such file' in line
    assert '--out FOLDER' in line


@pytest.mark.parametrize('kept', [True, False])
def test_results_that_are_deleted_count_as_not_written(cfg, trained, tmp_path, kept):
    cfg.test_evaluator.output_dir = str(tmp_path / 'out')
    cfg.load_from = str(trained.checkpoint)
    runner = Runner.from_cfg(cfg)
    runner._test_loop = runner.build_test_loop(runner._test_loop)
    (metric,) = runner.test_loop.evaluator.metrics
    metric.keep_results = kept  # as CityscapesMetric has it
    if kept:
        runner.call_hook('before_run')
        assert metric.format_only
        return
    with pytest.raises(UnlabelledTestError):
        runner.call_hook('before_run')


def test_some_labels_are_refused(cfg, trained, tiny_data, images, tmp_path):
    (images / 'labels').mkdir()
    shutil.copy(tiny_data / 'labels/3.png', images / 'labels')
    with pytest.raises(DataMismatchError, match='labels/0.png: no such file'):
        apis.test(cfg, str(trained.checkpoint), out=str(tmp_path / 'out'))


class LoadLabelsByBrightness(LoadAnnotations):
    """Makes labels from the image: no file is needed."""

    def transform(self, results):
        results['gt_seg_map'] = (results['img'][..., 0] // 100).astype(np.uint8)
        results['seg_fields'].append('gt_seg_map')
        return results


def test_labels_that_need_no_file_are_evaluated(cfg, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(TRANSFORMS._module_dict, 'LoadLabelsByBrightness', LoadLabelsByBrightness)
    cfg.test_dataloader.dataset.pipeline[1].type = 'LoadLabelsByBrightness'
    cfg.skip_checks = ['label_ids', 'absent_classes']
    metrics = apis.test(cfg, str(trained.checkpoint), out=str(tmp_path / 'out'))
    assert metrics['aAcc'] >= 0
    assert is_predicted(tmp_path / 'out')


@pytest.mark.subprocess
@pytest.mark.parametrize('tta', [(), ('--tta',)])
def test_stock_test_tool_predicts_without_labels(config, trained, tmp_path, tta):
    result = run(
        sys.executable, STOCK_TEST, config, trained.checkpoint, '--out', 'out', *tta, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert is_predicted(tmp_path / 'out')


def test_our_configs_look_before_the_data_are_checked():
    cfg = Config.fromfile('mmseg_faseg::faseg_toy.py')
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks.index('UnlabelledTestHook') < hooks.index('DataCheckHook')
