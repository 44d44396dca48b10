"""FASegDetector finds what MMDetection's detector finds, row by row."""

import pytest
import torch
from mmdet.models import MaskFormerFusionHead
from mmdet.structures import DetDataSample

from mmseg_faseg.models.merging import rows as merging_rows
from tests.helpers.small_detector import STUFF, THINGS, build_detector, our_head, stock_head

CASES = {
    'plain': ((64, 96), (64, 96), (64, 96)),
    'padded': ((64, 96), (50, 90), (50, 90)),
    'enlarged': ((64, 96), (50, 90), (133, 171)),
    'shrunk': ((96, 64), (93, 64), (41, 37)),
}


def sample(case) -> DetDataSample:
    size, img_shape, ori_shape = CASES[case]
    meta = dict(img_shape=img_shape, ori_shape=ori_shape, batch_input_shape=size)
    return DetDataSample(metainfo=meta)


def detectors(stuff=STUFF, **test_cfg):
    """Ours and MMDetection's, whose heads predict the same."""
    torch.manual_seed(0)
    class_logits = 2 * torch.randn(2, 7, THINGS + stuff + 1, dtype=torch.float64)
    coarse = 9 * torch.randn(2, 7, 6, 6, dtype=torch.float64)
    models = []
    for kind in ('FASegDetector', 'Mask2Former'):
        model = build_detector(our_head(), stuff, kind, **test_cfg).double().eval()

        def predict_last(x):
            size = x[0].shape[-2:]
            masks = torch.nn.functional.interpolate(coarse[: len(x[0])], size, mode='bilinear')
            return class_logits[: len(x[0])], masks

        model.panoptic_head.predict_last = predict_last
        models.append(model)
    return models


@pytest.mark.parametrize('rescale', [True, False], ids=['original size', 'input size'])
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize(
    ('stuff', 'test_cfg'),
    [
        (STUFF, dict(iou_thr=0.3, object_mask_thr=0.3, filter_low_score=True)),
        (STUFF, dict(iou_thr=0.1, object_mask_thr=0.5)),
        (STUFF, dict(object_mask_thr=1.0)),  # nothing is probable enough
        (0, dict()),
    ],
    ids=['filtered', 'probable', 'nothing', 'instances'],
)
def test_same_results_as_mmdetection(monkeypatch, stuff, test_cfg, case, rescale):
    monkeypatch.setattr(merging_rows, 'chunk_bytes', lambda _: 40_000)  # several chunks, even here
    inputs = torch.randn(2, 3, *CASES[case][0], dtype=torch.float64)
    ours, stock = (
        model.predict(inputs, [sample(case) for _ in inputs], rescale=rescale)
        for model in detectors(stuff, **test_cfg)
    )
    for got, expected in zip(ours, stock, strict=True):
        if stuff:
            segments = expected.pred_panoptic_seg.sem_seg
            assert got.pred_panoptic_seg.sem_seg.dtype == segments.dtype
            torch.testing.assert_close(got.pred_panoptic_seg.sem_seg, segments, rtol=0, atol=0)
            assert (len(segments.unique()) > 1) == (test_cfg['object_mask_thr'] != 1.0)
        theirs = expected.pred_instances
        assert len(theirs.labels)
        for key in ('labels', 'bboxes', 'masks'):
            torch.testing.assert_close(got.pred_instances[key], theirs[key], rtol=0, atol=0)
        torch.testing.assert_close(
            got.pred_instances.scores, theirs.scores.double(), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        (dict(merging='maskwise'), "merging must be 'argmax' or 'mask-wise', got 'maskwise'"),
        (dict(merging='mask-wise', iou_thr=0.8), "iou_thr is a setting of merging='argmax'"),
        (dict(quality_thr=0.3), "quality_thr is a setting of merging='mask-wise'"),
        (dict(merging='mask-wise', overlap_thr=[0.4, 0.2]), 'each of the 5 classes'),
        (dict(merging='mask-wise', overlap_thr=dict(thing=0.4)), 'each of the 5 classes'),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(test_cfg, message):
    with pytest.raises(ValueError, match=message):
        build_detector(our_head(), kind='FASegDetector', **test_cfg)


def test_a_head_without_masks():
    with pytest.raises(TypeError, match='panoptic_head with predict_last.*got Mask2FormerHead'):
        build_detector(stock_head(), kind='FASegDetector')


def test_mmdetections_fusion_head_merges_nothing(monkeypatch):
    monkeypatch.setattr(MaskFormerFusionHead, 'predict', None)
    model, _ = detectors()
    model.predict(torch.randn(1, 3, 64, 96, dtype=torch.float64), [sample('plain')])
