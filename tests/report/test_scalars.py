"""Curves of a run are joined from all its starts."""

import json

import pytest

from mmseg_faseg.report.scalars import read_curves


@pytest.fixture
def write(tmp_path):
    """Writes what a start logged; lines are dicts, or texts as they are."""

    def write(start: str, *lines: dict | str) -> None:
        file = tmp_path / start / 'vis_data' / 'scalars.json'
        file.parent.mkdir(parents=True)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text('\n'.join(texts) + '\n')

    return write


def trained(step, loss, **more):
    return {'lr': 1e-4, 'loss': loss, 'decode.loss_cls': loss, 'time': 1.0, 'step': step, **more}


def validated(step, miou, **more):
    return {'aAcc': 50.0, 'mIoU': miou, 'time': 1.0, 'data_time': 1.0, 'step': step, **more}


def test_losses_rates_and_metrics(tmp_path, write):
    deep = {'decode.d0.loss_cls': 2.0, 'decode.loss_dice': 3.0, 'base_lr': 2e-4}
    metrics = {'boundary/mIoU': 7.0, 'boundary/aAcc': 8.0}
    write('1', trained(10, 5.0, **deep), validated(10, 20.0, **metrics))
    curves = read_curves(tmp_path)
    assert curves.losses == {'loss': [(10, 5.0)], 'loss_cls': [(10, 7.0)], 'loss_dice': [(10, 3.0)]}
    assert curves.learning_rate == [(10, 2e-4)]
    assert curves.metrics == {
        'aAcc': [(10, 50.0)],
        'mIoU': [(10, 20.0)],
        'boundary/mIoU': [(10, 7.0)],
    }
    assert list(curves.by_name())[0] == 'loss' and 'learning rate' in curves.by_name()


def test_a_resumed_run_does_not_go_backwards(tmp_path, write):
    write('1', *(trained(step, 1.0) for step in (10, 20, 30)), validated(20, 1.0))
    write('2', validated(20, 2.0), *(trained(step, 2.0) for step in (25, 35)), validated(40, 3.0))
    curves = read_curves(tmp_path)
    assert curves.losses['loss'] == [(10, 1.0), (20, 1.0), (25, 2.0), (35, 2.0)]
    assert curves.metrics['mIoU'] == [(20, 2.0), (40, 3.0)]
    assert curves.starts == 2


def test_a_run_that_began_anew_replaces_the_one_before(tmp_path, write):
    write('1', *(trained(step, 1.0) for step in (10, 20)), validated(20, 1.0))
    write('2', trained(10, 2.0))
    curves = read_curves(tmp_path)
    assert curves.losses['loss'] == [(10, 2.0)] and curves.metrics == {}


def test_a_start_that_only_validated_leaves_the_training(tmp_path, write):
    write('1', trained(10, 1.0), trained(20, 1.0))
    write('2', validated(20, 2.0))
    curves = read_curves(tmp_path)
    assert curves.losses['loss'] == [(10, 1.0), (20, 1.0)]
    assert curves.metrics['mIoU'] == [(20, 2.0)]


@pytest.mark.parametrize(
    'line', ['{"loss": 1.0, "st', '[]', '3', '{"loss": 1}', '{"step": null}', '{"step": NaN}', '\0']
)
def test_lines_that_cannot_be_read_are_counted(tmp_path, write, line):
    write('1', trained(10, 1.0), line)
    curves = read_curves(tmp_path)
    assert curves.losses['loss'] == [(10, 1.0)] and curves.unread == 1


def test_values_that_are_no_numbers_are_left_out(tmp_path, write):
    write('1', trained(10, 1.0), validated(10, 5.0, name='x', classes=[1.0]))
    assert read_curves(tmp_path).metrics == {'aAcc': [(10, 50.0)], 'mIoU': [(10, 5.0)]}


def test_validations_of_epochs_stand_at_their_ends(tmp_path, write):
    lines = [trained(step, 1.0, epoch=epoch) for step, epoch in ((4, 1), (8, 1), (12, 2), (16, 2))]
    write('1', *lines, validated(1, 1.0), validated(2, 2.0))
    assert read_curves(tmp_path).metrics['mIoU'] == [(8, 1.0), (16, 2.0)]


def test_no_run_no_curves(tmp_path):
    assert read_curves(tmp_path).by_name() == {}
