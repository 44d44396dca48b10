import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from PIL import Image


def resize(results, scale, max_size, kind='AntialiasedResizeShortestEdge'):
    init_default_scope('mmseg')
    transform = dict(type=kind, scale=scale, max_size=max_size)
    return TRANSFORMS.build(transform)(results)


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 256, (480, 641, 3), dtype=np.uint8),
        gt_seg_map=rng.choice(np.array([0, 7, 255], dtype=np.uint8), (480, 641)),
        seg_fields=['gt_seg_map'],
    )


@pytest.mark.parametrize(
    ('scale', 'max_size', 'shape'),
    [
        (512, 2048, (512, 684)),
        (256, 2048, (256, 342)),
        (307, 2048, (307, 410)),
        ((700, 512), 2048, (512, 684)),
        (512, 600, (449, 600)),
    ],
)
def test_sizes(results, scale, max_size, shape):
    out = resize(results, scale, max_size)
    assert out['img'].shape == (*shape, 3)
    assert out['gt_seg_map'].shape == shape
    assert out['img_shape'] == shape


def test_both_edges_are_exact_for_all_aspect_ratios():
    for width in range(64, 400):
        out = resize(dict(img=np.zeros((64, width, 3), dtype=np.uint8)), 51, 200)
        long = min(200, int(width * 51 / 64 + 0.5))
        short = 51 if width * 51 <= 200 * 64 else int(64 * 200 / width + 0.5)
        assert out['img'].shape[:2] == (short, long)


@pytest.mark.parametrize(
    ('kind', 'longest'), [('AntialiasedResizeShortestEdge', 2048), ('ResizeShortestEdge', 2046)]
)
def test_longest_edge_reaches_max_size(kind, longest):
    out = resize(dict(img=np.zeros((64, 263, 3), dtype=np.uint8)), 512, 2048, kind)
    assert out['img'].shape[:2] == (498, longest)


def test_image_is_antialiased_and_labels_are_not_mixed(results):
    image, labels = Image.fromarray(results['img']), set(np.unique(results['gt_seg_map']))
    out = resize(results, 120, 2048)
    expected = np.asarray(image.resize((160, 120), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(out['img'], expected)
    # noise averages out where every source pixel counts
    assert out['img'].std() < 0.5 * np.asarray(image).std()
    assert set(np.unique(out['gt_seg_map'])) == labels


def test_float_images_are_refused(results):
    results['img'] = results['img'].astype(np.float32)
    with pytest.raises(TypeError, match='float32.*uint8'):
        resize(results, 512, 2048)
