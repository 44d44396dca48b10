"""Numbers of a report are those of the metrics, and say what they are means of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mmseg_faseg.errors import UserError
from mmseg_faseg.evaluation import BoundaryIoUMetric, SizeIoUMetric
from mmseg_faseg.report.evaluation import evaluate
from mmseg_faseg.report.scores import Mean, most_different
from tests.helpers.evaluation import IGNORED, random_maps
from tests.helpers.evaluation import evaluate as by_metric

CLASSES = ('a', 'b', 'c', 'd')


class Images:
    """A data set of label maps; where there is ``None``, loading fails."""

    def __init__(self, truths, classes):
        self.metainfo = dict(classes=classes, palette=[[0, 0, 0]] * len(classes))
        self.truths = truths

    def __len__(self):
        return len(self.truths)

    def get_data_info(self, index):
        return dict(img_path=f'/data/photos/{index % 2}/{index}.png')

    def __getitem__(self, index):
        if self.truths[index] is None:
            raise KeyError('seg_map_path')
        truth = torch.from_numpy(self.truths[index])[None]
        sample = SegDataSample(gt_sem_seg=PixelData(data=truth), metainfo=dict(index=index))
        return dict(inputs=torch.zeros(3, *truth.shape[1:]), data_samples=sample)


def judge(pairs, classes=CLASSES, evaluator=(), indices=None, kept=None):
    """What a model is worth that predicts the first of each pair."""

    def predict(data):
        (sample,) = data['data_samples']
        predicted = torch.from_numpy(pairs[sample.index][0])[None]
        return [sample.set_field(PixelData(data=predicted), 'pred_sem_seg') or sample]

    keep = {} if kept is None else kept
    return evaluate(
        SimpleNamespace(test_step=predict),
        Images([truth for _, truth in pairs], classes),
        range(len(pairs)) if indices is None else indices,
        evaluator,
        keep.__setitem__,
    )


@pytest.fixture
def pairs():
    return random_maps(0, [(40, 56), (24, 24), (33, 70)])


def in_percent(scores):
    means = scores.mean_iou, scores.mean_accuracy
    return [round(100 * value, 2) for value in (scores.right, *(mean.value for mean in means))]


def of_metric(found, prefix=''):
    return [found[f'{prefix}{name}'] for name in ('aAcc', 'mIoU', 'mAcc')]


def test_numbers_are_those_of_the_metrics(pairs):
    evaluation = judge(pairs)
    pixels = by_metric(IoUMetric(), pairs, 4)
    assert in_percent(evaluation.pixels) == pytest.approx(of_metric(pixels))
    boundary = by_metric(BoundaryIoUMetric(), pairs, 4)
    assert in_percent(evaluation.boundary) == pytest.approx(of_metric(boundary, 'boundary/'))
    by_size = by_metric(SizeIoUMetric(), pairs, 4)
    assert evaluation.sizes.keys() == {'small', 'medium', 'large'}
    for name, scores in evaluation.sizes.items():
        expected = of_metric(by_size, f'{name}/')
        assert in_percent(scores) == pytest.approx(expected, nan_ok=True)


def test_settings_of_the_evaluator_are_taken(pairs):
    evaluator = [
        dict(type='IoUMetric', ignore_index=0),
        dict(type='mmseg.BoundaryIoUMetric', distance=0.1),
        dict(type='SizeIoUMetric', areas=dict(tiny=0, huge=16)),
    ]
    pairs = [(predicted, np.minimum(truth, 3)) for predicted, truth in pairs]
    evaluation = judge(pairs, evaluator=evaluator)
    expected = by_metric(BoundaryIoUMetric(0.1, ignore_index=0), pairs, 4)
    assert in_percent(evaluation.boundary) == pytest.approx(of_metric(expected, 'boundary/'))
    assert evaluation.distance == 0.1 and evaluation.areas == dict(tiny=0, huge=16)
    assert evaluation.labelled[0] == evaluation.confusion[0].sum() == 0


def test_confusion_is_of_labels_in_rows_and_predictions_in_columns():
    truth = np.array([[0, 0, 0, 1], [1, 2, IGNORED, IGNORED]])
    predicted = np.array([[0, 1, 1, 1], [2, 2, 0, 3]])
    evaluation = judge([(predicted, truth)])
    expected = [[1, 2, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert evaluation.confusion.tolist() == expected
    assert evaluation.labelled.tolist() == [3, 2, 1, 0]
    assert evaluation.predicted.tolist() == [1, 3, 2, 0]


def test_confusion_agrees_with_the_metric(pairs):
    evaluation = judge(pairs)
    pixels = evaluation.confusion
    right = pixels.diagonal()
    assert right / (pixels.sum(0) + pixels.sum(1) - right) == pytest.approx(evaluation.pixels.iou)
    assert pixels.sum(1).tolist() == evaluation.labelled.tolist()
    assert pixels.sum(0).tolist() == evaluation.predicted.tolist()


def test_means_say_over_how_many_classes_they_are():
    truth = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 2, 1, 1]])  # class 2 is predicted alone, 3 does not occur
    scores = judge([(predicted, truth)]).pixels
    assert scores.mean_iou == Mean(pytest.approx((0.5 + 1 + 0) / 3), 3)
    assert scores.mean_accuracy == Mean(pytest.approx(0.75), 2)
    assert np.isnan(scores.iou[3]) and np.isnan(scores.accuracy[2:]).all()


def test_an_image_is_scored_over_the_classes_of_its_labels():
    truth = np.array([[0, 0, 1, 1]])
    pairs = [
        (np.array([[0, 2, 1, 1]]), truth),
        (np.array([[1, 1, 1, 1]]), truth),
        (truth, np.full((1, 4), IGNORED)),
    ]
    evaluation = judge(pairs)
    first, second, third = evaluation.images
    assert first.iou == Mean(pytest.approx(0.75), 2)
    assert second.iou == Mean(pytest.approx(0.25), 2)
    assert third.iou.over == 0
    assert [image.index for image in evaluation.worst_first()] == [1, 0]
    assert [image.name for image in evaluation.images] == ['0/0.png', '1/1.png', '0/2.png']


def test_predictions_are_kept_and_only_chosen_images_are_looked_at(pairs):
    kept = {}
    evaluation = judge(pairs, indices=[0, 2], kept=kept)
    assert [image.index for image in evaluation.images] == [0, 2]
    assert kept.keys() == {0, 2} and (kept[2] == pairs[2][0]).all()
    assert evaluation.num_images == 3


def test_images_that_cannot_be_judged_are_listed(pairs):
    broken = [*pairs, (pairs[0][0], None), (pairs[0][0], pairs[1][1])]
    evaluation = judge(broken)
    assert in_percent(evaluation.pixels) == in_percent(judge(pairs).pixels)
    assert evaluation.left_out == [
        '/data/photos/1/3.png: has no label map',
        '/data/photos/0/4.png: is 56 x 40, but its label map is 24 x 24',
    ]


def test_without_a_single_image_there_is_no_evaluation(pairs):
    with pytest.raises(UserError, match=r'no image could be judged: /data/photos/0/0.png: has no'):
        judge([(pairs[0][0], None)])


def test_images_are_ordered_by_how_much_runs_differ():
    truth = np.array([[0, 0, 1, 1]])
    wrong, half = 1 - truth, np.zeros_like(truth)
    first = judge([(truth, truth), (half, truth), (truth, truth)])
    second = judge([(half, truth), (wrong, truth), (truth, truth), (wrong, truth)])
    found = most_different([first, second])
    assert [tuple(image.index for image in images) for images in found] == [(0, 0), (1, 1), (2, 2)]
