"""What a run shows on the terminal, and what it keeps in its log file and JSON."""

import json
import logging
import re
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from mmengine.registry import RUNNERS

from mmseg_faseg import apis
from mmseg_faseg.engine.log_processor import loss_kinds
from tests.helpers.small_head import CONFIGS

KINDS = ('loss_cls', 'loss_mask', 'loss_dice')
LONG = ['System environment:', 'Config:\n', 'Hooks will be executed', 'paramwise_options -- ']


@pytest.fixture(scope='module')
def train(write_config, tmp_path_factory):
    """Trains the tiny model with the log that all our configs have, and reads what came out."""
    runtime = Config.fromfile(f'{CONFIGS}/_base_/default_runtime.py')
    log = {key: runtime[key] for key in ('runner_type', 'log_processor', 'custom_hooks')}

    def run(name: str, resume: bool = False, **options) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp(name)
        cfg = apis.load_config(str(write_config(folder / f'{name}.py')), options)
        cfg.merge_from_dict(log | {'visualizer.name': name, 'work_dir': str(folder / 'work')})
        cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(decode_head=dict(lr_mult=0.5)))
        cfg.merge_from_dict(options)
        with redirect_stdout(StringIO()) as terminal:
            apis.train(cfg, resume=resume)
        logging.shutdown()
        (file,) = folder.glob('work/*/*.log')
        (scalars,) = folder.glob('work/*/vis_data/scalars.json')
        return SimpleNamespace(
            cfg=cfg,
            terminal=terminal.getvalue(),
            file=file.read_text(),
            scalars=[json.loads(line) for line in scalars.read_text().splitlines()],
        )

    return run


@pytest.fixture(scope='module')
def quiet(train):
    return train('quiet', **{'train_cfg.max_iters': 2})


@pytest.fixture(scope='module')
def loud(train):
    return train(
        'loud',
        **{'train_cfg.max_iters': 1, 'log_level': 'DEBUG', 'log_processor.per_prediction': True},
    )


def test_terminal_shows_what_a_person_reads(quiet, loud):
    assert not [text for text in LONG if text in quiet.terminal]
    assert len(quiet.terminal.splitlines()) < 40 < 400 < len(loud.terminal.splitlines())


def test_log_file_keeps_everything(quiet):
    assert [text for text in LONG if text in quiet.file] == LONG
    assert 'numpy_random_seed: 0' in quiet.file
    assert "type='FASegHead'" in quiet.file


def test_debug_brings_everything_back(loud):
    assert [text for text in LONG if text in loud.terminal] == LONG


def test_overview_comes_first(quiet, tiny_data):
    first, *lines = quiet.terminal[quiet.terminal.index('Training\n') :].splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith('  '))
    rows = dict(line.strip().split(maxsplit=1) for line in lines[:end])
    assert first == 'Training'
    assert rows['config'] == quiet.cfg.filename
    assert re.fullmatch(
        r'FASegSegmentor \(ResNet, FASegHead\), 3 classes, 0\.\d M parameters', rows['model']
    )
    assert rows['data'] == f'5 images of BaseSegDataset in {tiny_data}, 2 per iteration'
    assert rows['length'] == '2 iterations'
    assert rows['validation'] == f'5 images of BaseSegDataset in {tiny_data}, every 2 iterations'
    assert rows['device']
    assert rows['seed'] == '0'
    assert lines[end - 2].split(maxsplit=2)[2] == quiet.cfg.work_dir
    assert Path(rows['log'].partition(',')[0]).is_file()
    assert any('Checking 5 of 5 images and label maps' in line for line in lines[end:])


def test_iteration_has_the_total_and_one_value_for_each_kind(quiet):
    lines = re.findall(r'Iter\(train\) \[(\d)/2\]  (.*)', quiet.terminal)
    assert [number for number, _ in lines] == ['1', '2']
    for (_, line), scalars in zip(lines, quiet.scalars, strict=False):
        items = dict(item.split(': ') for item in line.split('  '))
        assert [*items][:6] == ['loss', *KINDS, 'lr', 'eta']
        assert float(items['loss']) == pytest.approx(scalars['loss'], rel=1e-3)
        for kind in KINDS:
            terms = [value for name, value in scalars.items() if name.endswith(kind)]
            assert len(terms) == 5
            assert float(items[kind]) == pytest.approx(sum(terms), rel=1e-3)
        assert float(items['lr']) == pytest.approx(scalars['lr'], rel=1e-2)


def test_json_has_every_term_and_no_sums(quiet):
    predictions = ['', *(f'd{n}.' for n in range(4))]
    terms = {f'decode.{prediction}{kind}' for prediction in predictions for kind in KINDS}
    for scalars in quiet.scalars[:2]:
        assert {name for name in scalars if 'loss' in name} == {'loss', *terms}


def test_terms_of_each_prediction_on_request(loud):
    (line,) = re.findall(r'Iter\(train\) \[1/1\]  (.*)', loud.terminal)
    assert 'decode.d3.loss_dice: ' in line


def test_validation_is_a_table_and_a_line(quiet):
    assert len(re.findall(r'^\| +Class +\|', quiet.terminal, re.M)) == 1
    (miou,) = re.findall(r'Iter\(val\) \[5/5\] .* mIoU: (\S+)', quiet.terminal)
    assert float(miou) == pytest.approx(quiet.scalars[-1]['mIoU'])


@pytest.mark.parametrize(
    ('interval', 'batch_size', 'logged', 'in_json'),
    [(2, 2, ['1', '2'], [2]), (50, 5, ['1'], [1])],  # where an epoch ends too
)
def test_first_iteration_is_logged_at_once(train, interval, batch_size, logged, in_json):
    """Once: the hook leaves to LoggerHook what LoggerHook logs."""
    options = {
        'train_cfg.max_iters': 3,
        'default_hooks.logger.interval': interval,
        'train_dataloader.batch_size': batch_size,
    }
    run = train(f'first_{interval}', resume=True, **options)
    assert 'resume' not in run.terminal  # there is nothing to go on from
    assert re.findall(r'Iter\(train\) \[(\d)/3\]', run.terminal) == logged
    assert [scalars['step'] for scalars in run.scalars if 'loss' in scalars] == in_json


def test_warnings_and_other_messages_stay_visible(quiet):
    logger = MMLogger.get_current_instance()
    (handler,) = (h for h in logger.handlers if not isinstance(h, logging.FileHandler))
    before = handler.setStream(StringIO())
    try:
        logger.warning('the disk is nearly full')
        logger.info('resumed epoch: 0, iter: 2')
        print_log('paramwise_options -- backbone.weight:lr=0.1', 'current')
        shown = handler.stream.getvalue().splitlines()
    finally:
        handler.setStream(before)
    assert len(shown) == 2
    assert 'WARNING' in shown[0] and shown[0].endswith('the disk is nearly full')
    assert shown[1].endswith('  resumed epoch: 0, iter: 2')


def test_testing_says_what_it_tests(quiet, capsys):
    checkpoint = str(Path(quiet.cfg.work_dir, 'iter_2.pth'))
    apis.test(deepcopy(quiet.cfg), checkpoint)
    terminal = capsys.readouterr().out
    rows = dict(re.findall(r'^  (\S+) +(\S.*)$', terminal, re.M))
    assert rows['weights'] == checkpoint
    assert rows['data'].startswith('5 images of BaseSegDataset')
    assert 'Testing\n' in terminal and 'length' not in rows


def test_testing_after_training_says_testing(quiet, capsys):
    runner = RUNNERS.build(quiet.cfg)
    runner.train()
    capsys.readouterr()
    runner.test()
    terminal = capsys.readouterr().out
    assert 'Testing\n' in terminal and 'Training\n' not in terminal


def test_kinds_are_summed_over_predictions():
    scalars = {
        'lr': 1e-4,
        'decode.loss_cls': 2.0,
        'decode.d0.loss_cls': 3.0,
        'decode.d11.loss_cls': 4.0,
        'aux.loss_ce': 1.0,
        'loss': 10.0,
        'decode.acc_seg': 50.0,
    }
    assert loss_kinds(scalars) == {'loss': 10.0, 'loss_cls': 9.0, 'aux.loss_ce': 1.0}
    mmdet = {'loss_cls': 1.0, 'd0.loss_cls': 2.0}
    assert loss_kinds(mmdet) == {'loss_cls': 3.0}
