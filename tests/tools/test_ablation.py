"""Rows of an ablation: what is refused, what goes on after an interruption, and the table."""

import json
import re
import statistics

import pytest
from mmengine.runner import ValLoop

from mmseg_faseg.apis import UserError, load_config
from tests.helpers.tools import call_tool
from tools.benchmarks import ablation

MASK2FORMER = """
model['decode_head'].update(
    positional_encoding=dict(num_feats=width // 2, normalize=True),
    loss_cls=dict(class_weight=[1.0] * 3 + [0.1]),
)
model['decode_head']['pixel_decoder'].update(
    positional_encoding=dict(num_feats=width // 2, normalize=True)
)
test_evaluator = [val_evaluator, dict(type='SizeIoUMetric', areas=dict(every=0, huge=9999))]
"""


@pytest.fixture
def write_rows(write_config, tmp_path):
    """Writes two rows, a FASeg and MMSegmentation's own Mask2Former; returns their paths."""
    faseg = write_config(tmp_path / 'faseg.py', 'crop_size = (64, 64)')
    mask2former = write_config(tmp_path / 'mask2former.py', 'crop_size = (64, 64)' + MASK2FORMER)
    text = mask2former.read_text().replace('methods/faseg.py', 'methods/mask2former.py')
    mask2former.write_text(text)
    return faseg, mask2former


@pytest.fixture
def refused(write_config, tmp_path, monkeypatch, capsys):
    """Calls the tool, which refuses before it counts FLOPs; nothing was written."""
    config = write_config(tmp_path / 'tiny.py')
    write_config(
        tmp_path / 'without_points.py', "default_hooks['logger'] = dict(type='LoggerHook')"
    )
    (tmp_path / 'other').mkdir()
    write_config(tmp_path / 'other' / 'tiny.py')
    monkeypatch.delattr(ablation, 'complexity_of')

    def call(*arguments):
        before = sorted(tmp_path.rglob('*'))
        with pytest.raises(SystemExit) as stop:
            call_tool('ablate.py', config, *arguments, monkeypatch=monkeypatch, cwd=tmp_path)
        assert stop.value.code == 2
        assert sorted(tmp_path.rglob('*')) == before
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--jobs', 0), '--jobs must be at least 1, got 0'),
        (('--seeds', -1), '--seeds must be at least 0, got -1'),
        (('--work-dir', 'tiny.py'), '--work-dir: .*tiny.py'),
        (('nosuch.py',), 'config nosuch.py'),
        (('other/tiny.py',), r'each file needs a name of its own, got .*tiny.py.*other/tiny.py'),
        (('without_points.py',), 'without_points.py: .*log_metric_by_epoch=False'),
        (('--cfg-options', 'visualizer=None'), 'takes a visualizer with LocalVisBackend'),
        (('--cfg-options', 'train_cfg._delete_=True'), 'no train_cfg.max_iters'),
        (('--cfg-options', 'test_cfg=None'), 'no test_cfg'),
        (('--cfg-options', 'data_root=nowhere'), "missing folder 'nowhere/images'"),
    ],
)
def test_bad_values_cost_no_time(arguments, message, refused):
    assert re.search(message, refused(*arguments))


def test_models_that_cannot_be_built_are_refused(refused):
    option = 'model.decode_head.high_res_attn.ratio=0'
    assert re.search(r'ratio must lie in \(0, 1\], got 0', refused('--cfg-options', option))


@pytest.mark.parametrize('claimed', [True, False])
def test_runs_of_another_config_are_found_at_once(claimed, refused, tmp_path):
    run = tmp_path / 'rows' / 'tiny' / 'seed0'
    run.mkdir(parents=True)
    if claimed:
        (run / 'config.py').write_text('another')
    (run / 'iter_2.pth').touch()
    assert 'holds a run of another config' in refused('--work-dir', 'rows')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('load_from', 'nosuch.pth'),
        ('model.mask2former', 'model.mask2former: there is no file nosuch.pth'),
    ],
)
def test_missing_weights_are_found_before_a_run(
    option, message, write_config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    more = 'crop_size = (64, 64)'
    config = load_config(str(write_config(tmp_path / 'tiny.py', more)), {option: 'nosuch.pth'})
    with pytest.raises(UserError, match=message):
        ablation.ablate([config], [0], 'rows')
    assert not (tmp_path / 'rows').exists()


@pytest.mark.subprocess
def test_rows_are_tabulated_and_runs_not_repeated(write_rows, tmp_path, monkeypatch, capsys):
    def ablate(*arguments):
        call_tool(
            *('ablate.py', *arguments, '--work-dir', 'rows'),
            *('--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=1'),
            monkeypatch=monkeypatch,
            cwd=tmp_path,
        )
        return json.loads((tmp_path / 'rows' / 'ablation.json').read_text())

    faseg, mask2former = write_rows
    results = ablate(faseg, mask2former, '--seeds', 0)
    assert 'faseg, seed 0: aAcc' in capsys.readouterr().out
    assert [(run['config'], run['seed']) for run in results['runs']] == [
        ('faseg', 0),
        ('mask2former', 0),
    ]
    first, second = results['runs']
    assert second['metrics']['every/mIoU'] == pytest.approx(second['metrics']['mIoU'])
    for run in results['runs']:
        assert list(run['points']) == ['1', '2']
        # Validated and tested on the same images, after the last iteration.
        assert run['points']['2']['mIoU'] == pytest.approx(run['metrics']['mIoU'])
        assert run['seconds_per_iteration'] > 0
    ours, theirs = results['configs']['faseg'], results['configs']['mask2former']
    assert ours['parameters'] > theirs['parameters'] > 0
    assert ours['FLOPs'] != theirs['FLOPs'] and min(ours['FLOPs'], theirs['FLOPs']) > 0
    text = (tmp_path / 'rows' / 'ablation.md').read_text()
    tested, validated = (part.splitlines() for part in text.split('```\n\n')[1].split('\n\n'))
    assert (
        tested[0]
        == '| config | seeds | aAcc | mIoU | mAcc | '
        + ' | '.join(
            f'{size}/{name}' for size in ('every', 'huge') for name in ('aAcc', 'mIoU', 'mAcc')
        )
        + ' |'
    )
    assert re.match(r'\| faseg \| 0 \| [\d.]+ \|.* \|  \|  \| $', tested[2] + ' ')
    assert validated[0].startswith('| config | mIoU at 1 | mIoU at 2 | parameters | FLOPs |')
    assert f'| {second["points"]["1"]["mIoU"]:.2f} | ' in validated[3]

    # A finished run is taken as it is, with a result that no run would give; a further seed is run.
    file = tmp_path / 'rows' / 'faseg' / 'seed0' / 'result.json'
    result = json.loads(file.read_text())
    result['metrics']['mIoU'] = 12.34
    file.write_text(json.dumps(result))
    first, second = ablate(faseg, '--seeds', 0, 1)['runs']
    assert (first['metrics']['mIoU'], second['seed']) == (12.34, 1)
    mious = [run['metrics']['mIoU'] for run in (first, second)]
    mean, deviation = statistics.mean(mious), statistics.stdev(mious)
    assert f'| {mean:.2f} ± {deviation:.2f} |' in (tmp_path / 'rows' / 'ablation.md').read_text()


def test_an_interrupted_run_goes_on_and_misses_no_validation(
    trained, write_config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = str(write_config(tmp_path / 'tiny.py'))

    def go_on():
        cfg = load_config(path, {'visualizer.name': 'goes_on', 'train_cfg.val_interval': 3})
        cfg.default_hooks.checkpoint.interval = 3
        cfg.load_from = str(trained.checkpoint)
        cfg.work_dir = str(tmp_path / 'run')
        return ablation._train_and_test(cfg)

    class KilledError(Exception):
        pass

    def killed(loop):
        raise KilledError

    for _ in range(2):  # in the validations after iterations 3 and 4, checkpoints of which exist
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(ValLoop, 'run', killed)
            go_on()
    result = go_on()
    assert list(result['points']) == [3, 4]
    assert result['points'][4]['mIoU'] == pytest.approx(result['metrics']['mIoU'])
    lines = [
        json.loads(line)
        for file in sorted((tmp_path / 'run').glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    # From the first iteration on, though the weights that it starts from are of a second.
    assert [line['iter'] for line in lines if 'iter' in line] == [1, 2, 3, 4]


@pytest.mark.subprocess
def test_a_failing_run_is_named_after_the_others(write_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {'train_cfg.max_iters': 2, 'optim_wrapper.type': 'NoSuchWrapper'}
    config = write_config(tmp_path / 'tiny.py', 'crop_size = (64, 64)')
    with pytest.raises(UserError, match=r'runs failed, see log.txt there: .*rows/tiny/seed0'):
        ablation.ablate([load_config(str(config), options)], [0], 'rows')
    log = tmp_path / 'rows' / 'tiny' / 'seed0' / 'log.txt'
    assert 'Traceback' in log.read_text()
    assert 'NoSuchWrapper' in log.read_text()


def test_flops_that_cannot_be_counted_are_left_out(write_config, tmp_path, capsys):
    cfg = load_config(str(write_config(tmp_path / 'tiny.py')))
    cfg.model.data_preprocessor.pop('size')
    cost = ablation._cost_of(cfg)
    assert cost['parameters'] > 0 and cost['FLOPs'] is None
    assert 'FLOPs are not counted: the config has no crop_size' in capsys.readouterr().out
    assert '| 0.01 M |  |  |' in ablation.markdown(
        dict(command='', configs={'tiny': cost | dict(parameters=9999)}, runs=[])
    )


def test_average_precision_is_shown_in_percent():
    """MMDetection gives shares, and -1 where there is nothing of a size."""
    metrics = {'coco/segm_mAP': 0.3512, 'coco/segm_mAP_l': -1.0}
    runs = [
        dict(
            config='a', seed=seed, metrics=metrics, points={'500': metrics}, seconds_per_iteration=1
        )
        for seed in (0, 1)
    ]
    costs = dict(a=dict(parameters=2_000_000, FLOPs=None))
    text = ablation.markdown(dict(command='ablate', configs=costs, runs=runs))
    assert '| a | 0, 1 | 35.12 ± 0.00 |  |' in text
    assert 'coco/segm_mAP at 500' in text
