"""FASegSegmentor makes EncoderDecoder's class maps, of the right size and in bounded memory."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder

from mmseg_faseg.models.merging import rows as merging_rows
from tests.helpers.small_head import samples
from tests.helpers.small_segmentor import MODES, build_segmentor, sample

CASES = {
    'plain': ((64, 96), (64, 96), (0, 0, 0, 0), None),
    'padded': ((64, 96), (50, 90), (0, 6, 0, 14), None),
    'resized': ((96, 64), (133, 71), (0, 0, 0, 0), None),
    'shrunk': ((160, 128), (41, 37), (0, 3, 0, 5), None),
    'flipped': ((64, 96), (80, 99), (0, 6, 0, 14), 'horizontal'),
    'upside down': ((64, 96), (80, 99), (0, 6, 0, 14), 'vertical'),
    'odd': ((75, 61), (75, 61), (0, 0, 0, 0), None),
}


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('mode', MODES)
def test_same_scores_as_encoder_decoder(monkeypatch, case, mode):
    size, ori_shape, padding, flip = CASES[case]
    monkeypatch.setattr(merging_rows, 'chunk_bytes', lambda _: 80_000)  # several chunks, even here
    model = build_segmentor(MODES[mode]).double()
    model.keep_scores = True
    inputs = torch.randn(2, 3, *size, dtype=torch.float64)
    ours = model.predict(inputs, [sample(size, ori_shape, padding, flip) for _ in range(2)])
    with torch.no_grad():
        stock = EncoderDecoder.predict(
            model, inputs, [sample(size, ori_shape, padding, flip) for _ in range(2)]
        )
    for got, expected in zip(ours, stock, strict=True):
        assert got.pred_sem_seg.data.shape == (1, *ori_shape)
        torch.testing.assert_close(got.seg_logits.data, expected.seg_logits.data, rtol=0, atol=1e-9)
        assert (got.pred_sem_seg.data == expected.pred_sem_seg.data).all()


def test_scores_are_kept_only_when_asked_for():
    model = build_segmentor()
    assert 'seg_logits' not in model.predict(torch.randn(1, 3, 64, 64))[0]
    model.keep_scores = True
    assert model.predict(torch.randn(1, 3, 64, 64))[0].seg_logits.data.shape == (5, 64, 64)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('num_classes', [2, 847])
def test_any_number_of_classes(num_classes, mode):
    model = build_segmentor(MODES[mode], num_classes=num_classes)
    classes = model.predict(torch.randn(1, 3, 64, 96))[0].pred_sem_seg.data
    assert classes.shape == (1, 64, 96)
    assert classes.max() < num_classes
    labels = torch.randint(0, num_classes, (2, 4, 1)).repeat_interleave(16, 1).expand(-1, -1, 64)
    losses = model.train()(torch.randn(2, 3, 64, 64), samples(labels), mode='loss')
    assert len(losses) == 14 * 3
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()


def test_one_class_is_none():
    with pytest.raises(ValueError, match=r"num_classes is 1.*classes=\('background', 'car'\)"):
        build_segmentor(num_classes=1)


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        (dict(mode='slide', crop_size=(64, 64), stride=(64, 80)), r'stride \(64, 80\) is larger'),
        (dict(mode='slide', crop_size=(64, 64)), 'stride must be two positive integers.*got None'),
        (dict(mode='slide', stride=(64, 64)), 'crop_size must be two positive integers'),
        (dict(mode='slide', crop_size=64, stride=(32, 32)), 'crop_size .*got 64'),
        (dict(mode='slide', crop_size=(64, 64), stride=(32, 0)), 'stride .*got '),
        (dict(mode='sliding'), "mode must be 'whole' or 'slide', got 'sliding'"),
    ],
)
def test_windows_that_leave_pixels_out(test_cfg, message):
    with pytest.raises(ValueError, match=message):
        build_segmentor(test_cfg)
    model = build_segmentor()
    model.test_cfg = ConfigDict(test_cfg)  # as after a change by hand
    with pytest.raises(ValueError, match=message):
        model.predict(torch.randn(1, 3, 128, 128))


@pytest.mark.parametrize('size', [(64, 64), (30, 41), (97, 33), (8, 8)])
def test_any_input_size_trains(size):
    model = build_segmentor().train()
    model.backbone.eval()  # batch norm has nothing to average over at 1 x 1
    labels = torch.randint(0, 5, (1, *size))
    losses = model(torch.randn(1, 3, *size), samples(labels), mode='loss')
    assert sum(losses.values()).isfinite()


def test_all_pixels_ignored_still_trains():
    model = build_segmentor().train()
    losses = model(torch.randn(2, 3, 64, 64), samples(torch.full((2, 64, 64), 255)), mode='loss')
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert model.decode_head.cls_embed.weight.grad.isfinite().all()


def test_diverged_weights_name_the_image():
    model = build_segmentor().train()
    model.decode_head.query_feat.weight.data[0] = torch.nan
    with pytest.raises(FloatingPointError, match='scene.png: class logits and mask logits are not'):
        model(torch.randn(2, 3, 64, 64), samples(torch.zeros(2, 64, 64).long()), mode='loss')


def test_masks_that_forbid_everything_do_no_harm():
    model = build_segmentor()
    torch.nn.init.constant_(model.decode_head.mask_embed[-1].weight, 0)
    torch.nn.init.constant_(model.decode_head.mask_embed[-1].bias, -100)
    torch.nn.init.constant_(model.decode_head.pixel_decoder.mask_feature.weight, 0)
    torch.nn.init.constant_(model.decode_head.pixel_decoder.mask_feature.bias, 1)
    class_logits, mask_logits = model(torch.randn(1, 3, 64, 64))
    assert (torch.stack(mask_logits) < -1000).all()
    assert torch.stack(class_logits).isfinite().all()


def test_tensor_mode_gives_all_predictions():
    class_logits, mask_logits = build_segmentor()(torch.randn(1, 3, 64, 96), mode='tensor')
    assert len(class_logits) == len(mask_logits) == 14
    assert mask_logits[0].shape == (1, 7, 16, 24)


def test_stock_encoder_decoder_runs_the_head():
    inputs = torch.randn(1, 3, 64, 96)
    maps = [
        build_segmentor(kind=kind).predict(inputs)[0].pred_sem_seg.data
        for kind in ('FASegSegmentor', 'EncoderDecoder')
    ]
    assert (maps[0] == maps[1]).all()


def test_head_without_predict_masks_is_refused():
    with pytest.raises(TypeError, match='got Mask2FormerHead, which EncoderDecoder can run'):
        build_segmentor(base='mask2former')


def test_diagonal_flips_are_refused():
    with pytest.raises(ValueError, match="must be 'horizontal' or 'vertical', got 'diagonal'"):
        build_segmentor().predict(
            torch.randn(1, 3, 64, 64), [sample((64, 64), (64, 64), flip='diagonal')]
        )


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="must be 'whole' or 'slide', got 'tiles'"):
        build_segmentor(dict(mode='tiles')).predict(torch.randn(1, 3, 32, 32))


def test_masks_laid_down_whole():
    """Where a mask lies its class is, and elsewhere the class with the largest score."""
    settings = dict(mode='whole', merging='mask-wise', quality_thr=0.05, overlap_thr=0.5)
    model, plain = build_segmentor(settings).double(), build_segmentor().double()
    generator = torch.Generator().manual_seed(3)
    probs = torch.rand(1, 7, 5, generator=generator, dtype=torch.float64).softmax(-1)
    masks = 6 * torch.randn(1, 7, 4, 6, generator=generator, dtype=torch.float64) - 4
    for one in (model, plain):
        one.decode_head.predict_masks = lambda x: (probs, masks)
    inputs = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    found, scored = (one.predict(inputs)[0].pred_sem_seg.data for one in (model, plain))
    assert found.shape == (1, 64, 96)
    assert found.dtype == torch.int64
    resized = torch.nn.functional.interpolate(masks, (64, 96), mode='bilinear')[0].sigmoid()
    inside = resized > 0.5
    assert (found[0] == scored[0])[~inside.any(0)].all()
    assert (found != scored).any()
    quality = (
        probs[0].max(-1).values * ((resized * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1)) ** 2
    )
    best = int(quality.argmax())
    assert (found[0][inside[best]] == probs[0, best].argmax()).all()


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        (dict(merging='all'), "merging must be 'argmax' or 'mask-wise', got 'all'"),
        (dict(iou_thr=0.8), 'iou_thr has no effect on class maps'),
        (dict(quality_thr=0.8), "quality_thr is a setting of merging='mask-wise'"),
        (dict(MODES['slide'], merging='mask-wise'), "needs mode='whole', got 'slide'"),
    ],
)
def test_merging_that_does_not_fit(test_cfg, message):
    with pytest.raises(ValueError, match=message):
        build_segmentor(dict(dict(mode='whole'), **test_cfg))
