"""The loading benchmark: its rates are those of the data, and what it refuses."""

import json

import pytest
from mmcv.transforms import BaseTransform
from mmengine.registry import DefaultScope
from mmseg.registry import TRANSFORMS

from mmseg_faseg.apis import load_config
from tests.helpers.tools import call_tool
from tools.benchmarks import loading
from tools.benchmarks.loading import bottleneck, build_loader, measure_loader, measure_process


class Clock:
    """In place of the ``time`` module: a second for each slow transform, and nothing else."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(loading, 'time', clock)
    monkeypatch.setattr(SlowForTest, 'clock', clock)
    return clock


@TRANSFORMS.register_module()
class SlowForTest(BaseTransform):
    """Takes half a second of the clock."""

    clock = None

    def transform(self, results):
        self.clock.now += 0.5
        return results


@pytest.fixture
def slow_config(write_config, tmp_path):
    cfg = load_config(str(write_config(tmp_path / 'tiny.py')))
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='SlowForTest'))
    return cfg


def test_rate_and_shares_of_one_process(slow_config, clock):
    with DefaultScope.overwrite_default_scope('mmseg'):
        rate, shares = measure_process(build_loader(slow_config, 0), 10)
    assert rate == 2
    assert shares == {
        'LoadImageFromFile': 0, 'LoadAnnotations': 0, 'SlowForTest': 1, 'RandomFlip': 0,
        'PackSegInputs': 0, 'data set': 0,
    }  # fmt: skip


def test_rate_of_a_data_loader(slow_config, clock):
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert measure_loader(build_loader(slow_config, 0), 10) == 2


def test_transforms_below_wrappers_are_timed(slow_config, clock):
    repeated = dict(type='RepeatDataset', times=2, dataset=slow_config.train_dataloader.dataset)
    slow_config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[repeated])
    with DefaultScope.overwrite_default_scope('mmseg'):
        _, shares = measure_process(build_loader(slow_config, 0), 3)
    assert shares['SlowForTest'] == 1


@pytest.mark.parametrize(
    ('consumes', 'text'),
    [
        (20, 'The model is the bottleneck: 1 worker '),
        (25, 'The model is the bottleneck: 1 worker '),
        (26, 'The model is the bottleneck: 2 workers '),
        (45, 'Data loading is the bottleneck'),
        (400, 'Data loading is the bottleneck'),
    ],
)
def test_bottleneck(consumes, text):
    """Loading in the model's own process never keeps up: they take turns."""
    rates = ((0, 500.0), (1, 25.0), (2, 40.0))
    rows = [dict(workers=workers, images_per_second=rate) for workers, rate in rates]
    assert bottleneck(dict(consumes=consumes, cores=2, rows=rows)).startswith(text)


def test_tool(write_config, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path / 'tiny.py')
    call_tool(
        'benchmark_loading.py', config, '--workers', 0, 1, '--seconds', 0.2, '--consumes', 1e9,
        '--out', tmp_path / 'out', cwd=tmp_path, monkeypatch=monkeypatch,
    )  # fmt: skip
    results = json.loads((tmp_path / 'out/loading.json').read_text())
    assert [row['workers'] for row in results['rows']] == [0, 1]
    assert all(row['images_per_second'] > 0 for row in results['rows']) and results['process'] > 0
    assert results['images_per_batch'] == 2
    text = (tmp_path / 'out/loading.md').read_text()
    for expected in ('PackSegInputs', '1 worker ', 'Data loading is the', 'benchmark_loading.py'):
        assert expected in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--workers', '0', '-1'], '--workers must be at least 0, got -1'),
        (['--seconds', '0'], '--seconds must be a number above 0, got 0'),
        (['--seconds', 'nan'], '--seconds must be a number above 0, got nan'),
        (['--consumes', '-3'], '--consumes must be a number above 0, got -3'),
        (['--out', 'tiny.py/out'], '--out: no folder can be made at tiny.py/out'),
        (['--cfg-options', 'data_root=nowhere'], "missing folder 'nowhere/images'"),
        (['--cfg-options', 'train_dataloader=None'], 'tiny.py has no train_dataloader'),
    ],
)
def test_what_is_wrong_is_one_line_at_once(
    write_config, tmp_path, monkeypatch, capsys, arguments, message
):
    write_config(tmp_path / 'tiny.py')
    monkeypatch.delattr(loading, 'build_loader')
    if arguments[0] != '--cfg-options':
        monkeypatch.delattr(loading, 'load_config')
    with pytest.raises(SystemExit) as end:
        call_tool(
            'benchmark_loading.py', 'tiny.py', *arguments, cwd=tmp_path, monkeypatch=monkeypatch
        )
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob('loading.*'))
