"""Rows of masks at an image's original size; merging to classes is one thing to do with them."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_faseg.models.merging import rows as merging_rows
from mmseg_faseg.models.merging.rows import MaskRows, Window, resize_rows

CASES = {
    'plain': ((64, 96), (64, 96), (0, 0, 0, 0), None),
    'padded': ((64, 96), (50, 90), (0, 6, 0, 14), None),
    'resized': ((96, 64), (133, 71), (0, 0, 0, 0), None),
    'shrunk and flipped': ((160, 128), (41, 37), (0, 3, 0, 5), 'horizontal'),
    'upside down': ((64, 96), (80, 99), (0, 6, 0, 14), 'vertical'),
}


def mask_rows(size, ori_shape, padding, flip, queries=7):
    torch.manual_seed(0)
    masks = torch.randn(queries, size[0] // 4, size[1] // 4, dtype=torch.float64)
    window = Window.of((0, 0, *size), masks)
    return masks, MaskRows([window], size, padding, flip, ori_shape)


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_mask_logits_are_those_resized_as_a_whole(monkeypatch, case):
    """As MMDetection's fusion heads see them: at the input's size, unpadded, at the original's."""
    monkeypatch.setattr(merging_rows, 'chunk_bytes', lambda _: 20_000)
    size, ori_shape, padding, flip = case
    masks, rows = mask_rows(*case)
    whole = F.interpolate(masks[None], size, mode='bilinear', align_corners=False)
    whole = whole[..., : size[0] - padding[3], : size[1] - padding[1]]
    if flip:
        whole = whole.flip(-1 if flip == 'horizontal' else -2)
    whole = F.interpolate(whole, ori_shape, mode='bilinear', align_corners=False)[0]
    chunks = list(rows.chunks())
    assert len(chunks) > 1
    assert [part.start for part, _ in chunks[1:]] == [part.stop for part, _ in chunks[:-1]]
    got = torch.cat([values for _, values in chunks]).permute(2, 0, 1)
    torch.testing.assert_close(got, whole, rtol=0, atol=1e-9)


def test_another_merging_is_a_function_of_a_windows_masks():
    """The largest probability of any query, say."""
    _, rows = mask_rows((64, 96), (64, 96), (0, 0, 0, 0), None)
    (_, masks), (_, best) = (
        next(rows.chunks()),
        next(rows.chunks([lambda logits: logits.sigmoid().amax(-1, keepdim=True)], 1)),
    )
    height = min(len(masks), len(best))
    expected = masks[:height].sigmoid().amax(-1, keepdim=True)
    torch.testing.assert_close(best[:height], expected)


def test_masks_of_several_windows_need_a_merging():
    _, rows = mask_rows((64, 96), (64, 96), (0, 0, 0, 0), None)
    with pytest.raises(ValueError, match='masks of 2 windows need merges'):
        next(rows._replace(windows=rows.windows * 2).chunks())


@pytest.mark.parametrize('size', [(4, 7), (32, 24), (9, 50)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_rows_are_those_of_interpolate(size, dtype):
    maps = torch.randn(3, 9, 7, dtype=dtype)
    whole = torch.nn.functional.interpolate(maps[None], size, mode='bilinear')[0]
    maps = maps.permute(1, 2, 0)
    rows = [resize_rows(maps, size, i, min(i + 3, size[0])) for i in range(0, size[0], 3)]
    torch.testing.assert_close(torch.cat(rows).permute(2, 0, 1), whole, rtol=0, atol=1e-6)
