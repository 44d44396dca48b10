"""Means that leave classes out say so."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric

from mmseg_faseg.evaluation import BoundaryIoUMetric

CLASSES = ('other', 'road', 'car')


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [
        text for text in (record.getMessage() for record in caplog.records) if 'mean' in text
    ]
    logger.removeHandler(caplog.handler)


def evaluate(label, prediction, kind=IoUMetric):
    metric = kind(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=CLASSES)
    sample = dict(
        pred_sem_seg=dict(data=torch.tensor([prediction])),
        gt_sem_seg=dict(data=torch.tensor([label])),
    )
    metric.process({}, [sample])
    return metric.evaluate(1)


def test_a_class_that_occurs_nowhere_is_named(said):
    assert evaluate([[0, 0, 1, 1]], [[0, 0, 1, 0]])['mIoU'] == pytest.approx(58.33, abs=0.01)
    assert said() == [
        "mean IoU is over 2 of 3 classes: 'car' left out (neither in labels nor in predictions)",
        "mean accuracy is over 2 of 3 classes: 'car' left out (in no label)",
    ]


def test_a_class_that_is_only_predicted_counts_for_iou(said):
    evaluate([[0, 0, 1, 1]], [[0, 2, 1, 1]])
    assert said() == ["mean accuracy is over 2 of 3 classes: 'car' left out (in no label)"]


def test_nothing_is_said_where_all_classes_count(said):
    evaluate([[0, 2, 1, 1]], [[0, 2, 1, 1]])
    assert said() == []


def test_metrics_of_our_own_do_not_say_it_again(said):
    evaluate([[0, 0, 1, 1]], [[0, 0, 1, 1]], BoundaryIoUMetric)
    assert said() == []
