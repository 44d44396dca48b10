"""The page shows what was counted, and whatever names are in it, they are text."""

import math
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections import Counter

import cv2
import numpy as np
import pytest

from mmseg_faseg.report.data import Part
from mmseg_faseg.report.page import confusions, render
from mmseg_faseg.report.pictures import Scene, draw_scenes
from mmseg_faseg.report.run import Judged, Run, Text
from mmseg_faseg.report.scalars import Curves
from mmseg_faseg.report.scores import ClassScores, Evaluation, ImageScore, Mean
from tests.helpers.pages import Page

HOSTILE = '<script>alert(1)</script>"\'$\\frac&'
CLASSES = (HOSTILE, 'straße 道', 'car', 'moon')


def scores(*iou):
    values = np.array(iou)
    return ClassScores(values, np.where(np.isnan(values), values, values / 2), 0.6)


def run_of(name='runs/street', ious=(0.25, 0.75, 0.5), images=(0.5, 0.25, 0.75)):
    """A run of four classes, the last of which does not occur."""
    confusion = np.zeros((4, 4), int)
    confusion[:3, :3] = [[60, 40, 0], [0, 1000, 0], [1, 2, 7]]
    own = scores(*ious, math.nan)
    evaluation = Evaluation(
        classes=CLASSES,
        palette=[[10 * k] * 3 for k in range(4)],
        num_images=len(images),
        images=[ImageScore(f'{i}{HOSTILE}', i, Mean(iou, 2)) for i, iou in enumerate(images)],
        left_out=[],
        pixels=own,
        boundary=own,
        sizes=dict(small=own, large=scores(*[math.nan] * 4)),
        distance=0.02,
        areas=dict(small=0, large=1000),
        confusion=confusion,
        labelled=confusion.sum(1),
        predicted=confusion.sum(0),
    )
    flat = np.zeros((4, 6), int)
    scenes = {i: Scene(np.zeros((4, 6, 3), np.uint8), flat, flat) for i in range(len(images))}
    pixels = Counter({0: 30, 1: 50, 2: 15, 255: 5})
    return Run(
        name=name,
        classes=CLASSES,
        ignore_index=255,
        checkpoint={'file': f'{name}/iter_3.pth'},
        config=Text(f'{name}/config.py', f'lr = 1\nname = {HOSTILE!r}\n'),
        environment=Text('the log of the run', HOSTILE),
        curves=Curves({'loss': [(1, 2.0), (2, 1.0)], HOSTILE: [(1, 1.0)]}, [(1, 0.1)], starts=2),
        parts=[Part('train', 9, 9, pixels, Counter({0: 9, 1: 8, 2: 7, 255: 2}), [])],
        judged=Judged(evaluation, scenes),
        notes=[HOSTILE],
    )


@pytest.mark.parametrize('count', [1, 2, 3])
def test_names_are_text_and_nothing_is_fetched(count):
    runs = [run_of(f'{HOSTILE}{number}') for number in range(count)]
    source = render(runs, '1.2')
    page = Page(source)
    assert page.needs_nothing_else()
    assert 'alert' not in re.sub(r'&lt;script&gt;alert', '', source)
    assert page.text.count(HOSTILE) > 20 * count
    assert "default-src 'none'" in source


def test_a_run_is_shown():
    page = Page(render([run_of()], '1.2'))
    for text in (
        'mIoU 50.00 over 3 of 4 classes',
        'mean accuracy 25.00 over 3 of 4 classes',
        'pixel accuracy 60.00',
        'mIoU of large segments – over 0 of 4 classes',
        'small from 0 pixels on, large from 1,000 pixels on.',
        'moon does not occur, and is part of no mean',
        f'car {HOSTILE} 10.00 1',
        'runs/street, joined from 2 starts',
        'Report by mmseg_faseg 1.2',
        'straße 道 50.00 8',
        'ignored 5.00 2',
        'runs/street/iter_3.pth',
    ):
        assert text in page.text
    assert page.titles[:2] == ['60 pixels, 60.00 %', '40 pixels, 40.00 %']
    assert sum(address.startswith('data:image/jpeg') for address in page.addresses) == 9


def test_classes_that_are_predicted_alone_say_so():
    run = run_of(ious=(0.25, 0.75, 0.5))
    run.judged.evaluation.labelled[3] = 0
    run.judged.evaluation.predicted[3] = 4
    run.judged.evaluation.pixels.iou[3] = 0.0
    page = Page(render([run], '1.2'))
    assert 'moon 0.00 does not occur in the labels' in page.text
    assert 'over 4 of 4 classes' in page.text


def test_worst_and_best_images_do_not_overlap():
    text = Page(render([run_of(images=[i / 30 for i in range(30)])], '1.2')).text
    worst, best = text.split('Worst images')[1].split('Best images')
    found = [re.findall(r'mIoU ([\d.]+) over', part.split(' Data ')[0]) for part in (worst, best)]
    assert found[0] == [f'{100 * i / 30:.2f}' for i in range(10)]
    assert found[1] == [f'{100 * i / 30:.2f}' for i in range(29, 19, -1)]
    text = Page(render([run_of()], '1.2')).text
    worst, best = text.split('Worst images')[1].split('Best images')
    assert worst.count('prediction:') == 2 and best.count('prediction:') == 1


def test_runs_are_compared():
    other = run_of('runs/other', ious=(0.25, 0.5, 0.75), images=(0.5, 0.75, 0.7))
    other.config = Text('b', 'lr = 2\n')
    page = Page(render([run_of(), other], '1.2'))
    assert 'car 50.00 75.00 +25.00' in page.text
    assert 'straße 道 75.00 50.00 -25.00' in page.text
    assert 'moon does not occur does not occur –' in page.text
    assert '-lr = 1 -name' in page.text and '+lr = 2' in page.text
    images = page.text.split('differ most')[1].split(' Data ')[0]
    assert re.findall(r'(\d)<script>', images)[:3] == ['1', '2', '0']
    assert 'runs/other: mIoU 75.00 over 2 classes' in images


def test_runs_on_different_images_are_named():
    other = run_of('runs/other', images=(0.5, 0.25))
    assert 'judged on different images, 2 in common' in Page(render([run_of(), other], '1.2')).text


def test_a_run_without_anything_is_a_page_too():
    run = run_of()
    empty = Run(run.name, run.classes, 255, run.checkpoint, run.config, run.environment, Curves())
    page = Page(render([empty], '1.2'))
    for text in ('No curves', 'No pictures', 'There is nothing to predict', 'not found'):
        assert text in page.text
    assert 'IoU 50.00' in Page(render([empty, run], '1.2')).text


def test_confusions_that_cost_most_come_first():
    found = confusions(run_of().judged.evaluation)
    assert [(one.truth, one.predicted, one.pixels) for one in found] == [
        (HOSTILE, 'straße 道', 40),
        ('car', 'straße 道', 2),
        ('car', HOSTILE, 1),
    ]
    assert found[0].share == 0.4


def test_curves_are_a_picture_of_their_own():
    page = Page(render([run_of()], '1.2'))
    (picture,) = [address for address in page.addresses if 'svg' in address]
    root = ET.fromstring(b64decode(picture.partition('base64,')[2]))
    assert root.tag.endswith('svg')


@pytest.mark.parametrize('shape', [(1, 1), (1, 500), (600, 3), (40, 40)])
@pytest.mark.parametrize('shrunk', [1, 2])
def test_images_of_any_size_are_drawn(shape, shrunk):
    image = np.zeros((max(1, shape[0] // shrunk), max(1, shape[1] // shrunk), 3), np.uint8)
    labels = np.full(shape, 255)
    pictures = draw_scenes([Scene(image, labels, np.zeros(shape, int))], [[255, 0, 0]])
    assert len(pictures) == 3
    assert all(
        b64decode(picture.partition('base64,')[2])[:2] == b'\xff\xd8' for picture in pictures
    )


def test_ignored_pixels_look_like_no_class():
    truth = np.zeros((40, 40), int)
    truth[:, 20:] = 255
    scene = Scene(np.full((40, 40, 3), 200, np.uint8), truth, np.zeros((40, 40), int))
    _, labels, prediction = (
        cv2.imdecode(np.frombuffer(b64decode(address.partition('base64,')[2]), np.uint8), 1)
        for address in draw_scenes([scene], [[0, 0, 0]])
    )
    assert prediction.std() < 1 and labels[:, :150].std() < 2
    assert labels[:, 170:].std() > 30  # striped
