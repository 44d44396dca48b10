"""The metrics are named in a config, beside IoUMetric."""

import json
import pickle

import pytest
from PIL import Image

from mmseg_faseg.evaluation import BoundaryIoUMetric, SizeIoUMetric
from tests.helpers.evaluation import evaluate, process, random_maps
from tests.helpers.tools import call_tool

THREE = """
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='BoundaryIoUMetric'),
    dict(type='SizeIoUMetric', areas=dict(all=0)),
]
"""


def test_a_test_reports_all_and_writes_label_maps(
    trained, write_config, tmp_path, monkeypatch, tiny_data
):
    config = write_config(tmp_path / 'three.py', THREE)
    call_tool(
        *('test.py', config, trained.checkpoint, '--out', tmp_path / 'labels'),
        *('--work-dir', tmp_path / 'run', '--cfg-options', 'visualizer.name=three'),
        monkeypatch=monkeypatch,
        cwd=tmp_path,
    )
    (file,) = (tmp_path / 'run').glob('*/*.json')
    metrics = json.loads(file.read_text())
    for name in ('aAcc', 'mIoU', 'mAcc'):
        # Of one size they are IoUMetric's numbers, which are of float32.
        assert metrics[f'all/{name}'] == pytest.approx(metrics[name])
    assert 0 <= metrics['boundary/mIoU'] <= 100
    labels = sorted(path.name for path in (tmp_path / 'labels').iterdir())
    assert labels == sorted(path.name for path in (tiny_data / 'images').iterdir())
    assert Image.open(tmp_path / 'labels' / labels[0]).size == (64, 64)


def test_processes_share_the_images():
    pairs = random_maps(0, [(20, 30)] * 5)
    for make in (BoundaryIoUMetric, SizeIoUMetric):
        whole = evaluate(make(), pairs, num_classes=4)
        # As MMEngine collects them: one result an image, pickled, whoever it is from.
        ranks = [process(make(), part, num_classes=4) for part in (pairs[3:], pairs[:3])]
        assert [len(results) for results in ranks] == [2, 3]
        collected = make()
        collected.dataset_meta = dict(classes='0123')
        collected.results = [pickle.loads(pickle.dumps(one)) for rank in ranks for one in rank]
        assert str(collected.evaluate(5)) == str(whole)  # nan is nan, too
