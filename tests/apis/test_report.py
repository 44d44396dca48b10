"""A report of a run as training leaves it, and of runs that something is missing from."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_faseg.apis.report import report
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.errors import UserError
from tests.helpers.metrics import logged_metrics
from tests.helpers.pages import Page


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the work dir of the tiny model, to damage at will."""
    return shutil.copytree(trained.work_dir, tmp_path / 'run')


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of its data."""
    return shutil.copytree(tiny_data, tmp_path / 'data')


def other_weights(run, folder):
    """A run like another, whose model predicts something else."""
    shutil.copytree(run, folder)
    (file,) = folder.glob('best_*.pth')
    checkpoint = read_checkpoint(file)
    weights = checkpoint['state_dict']
    weights['decode_head.cls_embed.weight'] = weights['decode_head.cls_embed.weight'].roll(1, 0)
    weights['decode_head.cls_embed.bias'] = torch.tensor([0.0, 5.0, 0.0, 0.0])
    torch.save(checkpoint, file)
    return folder


def test_numbers_are_those_of_the_validation(trained, run):
    file = report([run])
    assert file == run / 'report.html'
    page = Page.read(file)
    assert page.needs_nothing_else()
    metrics = logged_metrics(trained.work_dir)
    assert f'pixel accuracy {metrics["aAcc"]:.2f}' in page.text
    assert f'mIoU {metrics["mIoU"]:.2f} over 3 of 3 classes' in page.text
    assert f'mean accuracy {metrics["mAcc"]:.2f} over 3 of 3 classes' in page.text
    assert 'images 5 of 5' in page.text
    assert 'best_mIoU_iter_2.pth' in page.text


def test_everything_is_in_it(run):
    page = Page.read(report([run]))
    pictures = [address.partition(';')[0] for address in page.addresses if address[0] != '#']
    assert pictures == ['data:image/svg+xml'] + 5 * 3 * ['data:image/jpeg']
    for text in (
        'Worst images',
        'Best images',
        '% of pixels',
        'train_dataloader = dict(',  # of the config
        'Python: 3.',  # of the environment
        'from the log of the run',
        'iteration 2',
    ):
        assert text in page.text
    assert 'cannot' not in page.text and 'no curves' not in page.text


def test_data_are_counted(run, tiny_data):
    page = Page.read(report([run]))
    labels = [np.asarray(Image.open(file)) for file in tiny_data.glob('labels/*.png')]
    share = 100 * np.mean([labels == 2 for labels in labels])
    assert f'bright {share:.2f} 5 {share:.2f} 5' in page.text  # of training and of the test
    assert 'ignored 0.00 0 0.00 0' in page.text


def test_runs_are_compared(run, tmp_path):
    other = other_weights(run, tmp_path / 'other')
    file = report([run, other])
    assert file == run / 'comparison.html' and not (run / 'report.html').exists()
    page = Page.read(file)
    assert page.needs_nothing_else()
    assert 'Images where the runs differ most' in page.text
    assert str(other) in page.text and 'differences of their numbers' not in page.text
    for name in ('dark', 'grey', 'bright'):
        first, second, difference = re.search(
            rf'{name} ([\d.]+) ([\d.]+) ([+-][\d.]+)', page.text
        ).groups()
        assert float(second) - float(first) == pytest.approx(float(difference), abs=0.011)
    assert re.search(r'mIoU [\d.]+ over 3 of 3 classes [\d.]+ [+-][1-9]', page.text)
    assert 'The same.' in page.text  # their configs


def test_a_checkpoint_stands_for_its_run(run):
    page = Page.read(report([run / 'iter_2.pth'], run.parent / 'a.html'))
    assert 'run/iter_2.pth' in page.text
    assert (run.parent / 'a.html').exists() and not (run / 'report.html').exists()


def test_the_config_of_the_training_is_taken_though_a_test_came_later(run):
    without = (run / 'tiny.py').read_text().replace('\ntrain_dataloader = ', '\nunused = ')
    (run / 'later.py').write_text(without)
    page = Page.read(report([run]))
    assert 'images 5 5 % of pixels' in page.text


def test_the_config_in_the_checkpoint_is_the_last_resort(run):
    for file in [*run.glob('*.py'), *run.glob('*/vis_data/*.py')]:
        file.unlink()
    page = Page.read(report([run]))
    assert 'images 5 of 5' in page.text
    assert f'{run / "best_mIoU_iter_2.pth"} attention = ' in page.text


def test_without_a_log_the_environment_is_of_now(run):
    for file in run.glob('*/*.log'):
        file.unlink()
    text = Page.read(report([run])).text
    assert 'this machine, now' in text and 'MMSegmentation: 1.2' in text


def test_a_run_killed_before_its_first_line(run):
    for file in run.glob('*/vis_data/scalars.json'):
        file.unlink()
    text = Page.read(report([run])).text
    assert 'there are no curves' in text and 'images 5 of 5' in text


def test_a_line_cut_off_by_a_kill(run):
    (file,) = run.glob('*/vis_data/scalars.json')
    file.write_text(file.read_text() + '{"lr": 0.1, "lo')
    text = Page.read(report([run])).text
    assert '1 line of scalars.json cannot be read' in text


def test_without_data_there_are_no_pictures(run, tmp_path):
    page = Page.read(report([run], data_root=str(tmp_path / 'nowhere')))
    assert 'no test data: BaseSegDataset found no images: missing folder' in page.text
    assert 'give another --data-root' in page.text
    assert not any(address.startswith('data:image/jpeg') for address in page.addresses)
    assert any(address.startswith('data:image/svg') for address in page.addresses)


def test_data_that_moved_are_found(run, data):
    shutil.move(data, data.parent / 'moved')
    page = Page.read(report([run], data_root=str(data.parent / 'moved')))
    assert 'images 5 of 5' in page.text


def test_a_broken_image_does_not_stop_the_others(run, data):
    (data / 'images' / '1.png').write_bytes(b'')
    (data / 'labels' / '2.png').unlink()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(data / 'labels' / '3.png')
    text = Page.read(report([run], data_root=str(data))).text
    assert 'images 2 of 5' in text
    assert '3 images could not be judged' in text
    assert '3 images of train are not counted' in text and 'images 5, 2 counted 5, 2' in text
    for reason in ('1.png: cannot be read', '2.png: no such file', '3.png: is 64 x 64, but its'):
        assert reason in text


def test_a_class_that_does_not_occur(run, data):
    for file in data.glob('labels/*.png'):
        labels = np.asarray(Image.open(file))
        Image.fromarray(np.minimum(labels, 1)).save(file)
    text = Page.read(report([run], data_root=str(data))).text
    assert 'of 3 classes 1 do not occur in the labels of the judged images: bright' in text
    assert 'over 2 of 3 classes' in text and 'bright does not occur' in text


def test_part_of_the_images(run):
    text = Page.read(report([run], max_images=2)).text
    assert '2 of 5 test images were looked at' in text
    assert 'images 2 of 5' in text and 'images 5, 2 counted' in text


def change_config(run, old, new):
    for file in [*run.glob('*.py'), *run.glob('*/vis_data/*.py')]:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def test_runs_of_other_classes_are_not_compared(run, tmp_path):
    other = shutil.copytree(run, tmp_path / 'other')
    change_config(other, "'grey'", "'car'")
    with pytest.raises(
        UserError, match="different classes, 3 and 3, .*: class 1 is 'grey' and 'car'"
    ):
        report([run, other])


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("default_scope = 'mmseg'", "default_scope = 'mmdet'", 'is no semantic segmentation'),
        ('num_classes=3', 'num_classes=4', 'was made for 3 classes, the config has 4'),
        ("type='BaseSegDataset'", "type='NoDataset'", 'the data set cannot be built'),
    ],
)
def test_configs_that_do_not_fit(run, old, new, message):
    change_config(run, old, new)
    with pytest.raises(UserError, match=message):
        report([run])


def test_without_test_data_those_of_validation_are_predicted(run):
    change_config(run, '\ntest_dataloader = ', '\nunused = ')
    text = Page.read(report([run])).text
    assert 'images 5 of 5' in text and 'train val images' in text


def test_what_is_asked_for_is_looked_at_first(run, tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    for runs, options, message in (
        ([tmp_path / 'none'], {}, 'there is no run .*none'),
        ([empty], {}, 'empty has no checkpoint'),
        ([run, empty], {}, 'empty has no checkpoint'),
        ([run], dict(out=tmp_path / 'a.pdf'), 'must end in .html'),
        ([run], dict(out=tmp_path / 'none' / 'a.html'), 'there is no folder'),
        ([run], dict(max_images=0), '--max-images must be at least 1, got 0'),
        ([], {}, 'at least one run'),
    ):
        with pytest.raises(UserError, match=message):
            report(runs, **options)


def test_a_report_that_fails_leaves_the_one_before(run, monkeypatch):
    file = report([run], max_images=1)
    before = file.read_bytes()
    (best,) = run.glob('best_*.pth')
    best.write_bytes(b'no checkpoint')
    with pytest.raises(UserError):
        report([run])
    assert file.read_bytes() == before


def test_a_scalars_file_of_another_kind(run):
    (file,) = run.glob('*/vis_data/scalars.json')
    file.write_text(json.dumps([1, 2]))
    assert 'there are no curves' in Page.read(report([run])).text
