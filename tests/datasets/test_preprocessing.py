"""From image file to class map, and to training crop, beside the released pipeline.

The first half of this file is that pipeline in PIL, NumPy and plain PyTorch, written from its
description (docs/preprocessing.md) and from nothing of ours; the tests run both and compare.
"""

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import ResizeShortestEdge
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image
from PIL.Image import Resampling, Transpose
from torch import nn

from mmseg_faseg.apis.config import apply_options
from mmseg_faseg.models.decoders.mask_predictor import MaskPredictor
from tests.helpers import configs
from tests.helpers.small_head import head_config

CITYSCAPES = 'faseg_r50_cityscapes'
CAMVID_ROOT = Path(os.environ.get('CAMVID_ROOT') or Path(__file__).parents[2] / 'data/camvid')
needs_camvid = pytest.mark.skipif(
    not CAMVID_ROOT.is_dir(), reason='no CamVid in data/camvid, nor is CAMVID_ROOT set'
)


# The released pipeline

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]  # of red, green and blue
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


class Sizes(NamedTuple):
    """Shortest edges and limits of the longest edge, in pixels, for a released model."""

    shortest: int
    longest: int
    views: tuple[int, ...]
    views_longest: int
    train_longest: int
    crop: tuple[int, int]


VIEWS_512 = (256, 384, 512, 640, 768, 896)
VIEWS_640 = (320, 480, 640, 800, 960, 1120)
VIEWS_1024 = (512, 768, 1024, 1280, 1536, 1792)
RELEASED = {
    'faseg_swin-t_ade20k': Sizes(512, 2048, VIEWS_512, 3584, 2048, (512, 512)),
    'faseg_swin-b_ade20k': Sizes(640, 2560, VIEWS_640, 4480, 2560, (640, 640)),
    'faseg_swin-l_ade20k': Sizes(640, 2560, VIEWS_512, 3584, 2560, (640, 640)),
    CITYSCAPES: Sizes(1024, 2048, VIEWS_1024, 4096, 4096, (512, 1024)),
}


def resized(image: Image.Image, shortest: int, longest: int) -> Image.Image:
    """The image with its shortest edge as given, or smaller where the longest has a limit."""
    scale = shortest / min(image.size)
    width, height = (scale * edge for edge in image.size)
    shrink = min(1, longest / max(width, height))
    size = int(width * shrink + 0.5), int(height * shrink + 0.5)
    return image.resize(size, Resampling.BILINEAR)


def normalised(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in RGB to (3, H, W)."""
    return (torch.tensor(image).permute(2, 0, 1).float() - MEAN) / STD


def network_input(image: Image.Image) -> torch.Tensor:
    """What the backbone gets in a test: zeros fill it up to multiples of 32."""
    width, height = image.size
    return F.pad(normalised(np.array(image)), (0, -width % 32, 0, -height % 32))


def views(image: Image.Image, sizes: Sizes) -> list[Image.Image]:
    """The images of a multi-scale test, each followed by its mirror image."""
    image = resized(image, sizes.shortest, sizes.longest)
    straight = [resized(image, shortest, sizes.views_longest) for shortest in sizes.views]
    return [v for view in straight for v in (view, view.transpose(Transpose.FLIP_LEFT_RIGHT))]


def class_scores(model: nn.Module, image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """Class scores (K, H, W) at the original image's size (W, H)."""
    inputs = network_input(image)[None]
    class_logits, masks = model.decode_head.predict_last(model.backbone(inputs))
    masks = F.interpolate(masks, inputs.shape[-2:], mode='bilinear', align_corners=False)
    class_probs = class_logits.softmax(-1)[..., :-1]  # the last is 'no object'
    scores = torch.einsum('bqk,bqhw->bkhw', class_probs, masks.sigmoid())
    scores = scores[..., : image.height, : image.width]
    return F.interpolate(scores, size[::-1], mode='bilinear', align_corners=False)[0]


def multi_scale_scores(model: nn.Module, image: Image.Image, sizes: Sizes) -> torch.Tensor:
    """Class scores averaged over all views at the original image's size."""
    scores = [class_scores(model, view, image.size) for view in views(image, sizes)]
    mirrored_back = [score.flip(-1) for score in scores[1::2]]
    return torch.stack(scores[::2] + mirrored_back).mean(0)


def training_crop(
    image: Image.Image, labels: Image.Image, sizes: Sizes, draw: np.random.RandomState, fill: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model is trained on: image (3, H, W) and labels (1, H, W)."""
    shortest = int(sizes.shortest * (5 + draw.randint(16)) / 10)
    image = resized(image, shortest, sizes.train_longest)
    labels = np.array(labels.resize(image.size, Resampling.NEAREST))
    image = np.array(image)

    height, width = np.minimum(sizes.crop, labels.shape)
    top = draw.randint(labels.shape[0] - height + 1)
    left = draw.randint(labels.shape[1] - width + 1)
    image, labels = (a[top : top + height, left : left + width] for a in (image, labels))
    image = distorted(image, draw)
    if draw.random_sample() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    if fill:
        bottom, right = np.subtract(sizes.crop, (height, width))
        image = np.pad(image, ((0, bottom), (0, right), (0, 0)), constant_values=128)
        labels = np.pad(labels, ((0, bottom), (0, right)), constant_values=255)
    return normalised(image.copy()), torch.tensor(labels.astype(int))[None]


def distorted(image: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """SSD's colour distortion of an RGB image; MMSegmentation's generator never draws hue +18."""

    def linear(array, factor=1.0, offset=0.0):
        return np.clip(array.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)

    def contrast(image):
        return linear(image, factor=draw.uniform(0.5, 1.5)) if draw.randint(2) else image

    if draw.randint(2):
        image = linear(image, offset=draw.uniform(-32, 32))
    contrast_first = draw.randint(2)
    if contrast_first:
        image = contrast(image)
    if draw.randint(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = linear(hsv[..., 1], factor=draw.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if draw.randint(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + draw.randint(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if contrast_first else contrast(image)


# Ours


def load(name: str, options: dict | None = None):
    return apply_options(configs.load(name), options)


def write_image(root: Path, name: str, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Noise of (H, W), which a resize filter cannot hide in, and labels; as they are decoded."""
    ade20k = 'ade20k' in name
    suffixes = ('.jpg', '.png') if ade20k else ('_leftImg8bit.png', '_gtFine_labelTrainIds.png')
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    ids = np.array([0, 1, 9, 150 if ade20k else 255], np.uint8)
    labels = rng.choice(ids, size, p=[0.02, 0.9, 0.04, 0.04])
    paths = root / f'images/one{suffixes[0]}', root / f'labels/one{suffixes[1]}'
    for path, array in zip(paths, (pixels, labels), strict=True):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(path)
    if ade20k:
        labels = labels - 1  # 0, "other", becomes 255
    return Image.open(paths[0]).convert('RGB'), Image.fromarray(labels)


def dataset(cfg, root: Path, split: str, pipeline=None):
    config = cfg[f'{split}_dataloader'].dataset
    config.update(data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='labels'))
    if pipeline is not None:
        config.pipeline = pipeline
    return DATASETS.build(config)


class Pooling(nn.AvgPool2d):
    """A backbone of one map."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [super().forward(x)]


def stand_in(cfg) -> nn.Module:
    """The config's segmentor with masks that are mixtures of the network input's colours.

    A pooling takes the place of the backbone and of both decoders, which are not the matter here.
    Everything after it runs in float64, so that a comparison need not allow for rounding.
    """
    torch.manual_seed(0)
    cfg.model.backbone = dict(type='ResNet', depth=18, base_channels=4)
    cfg.model.decode_head = head_config(num_classes=3, num_queries=3)
    cfg.model.keep_scores = True
    model = MODELS.build(cfg.model).eval()
    model.backbone = Pooling(4)
    head = model.decode_head.double()
    queries = torch.eye(3, 32).double()[None]
    mixtures = nn.Conv2d(3, 32, 1).double()
    mixtures.weight.data[:] = 9 * torch.randn(32, 3, 1, 1)
    mixtures.bias.data.zero_()
    head.cls_embed.weight.data[:, :3] = 2 * torch.eye(4, 3)

    def predict_last(x):
        predictor = MaskPredictor(nn.Identity(), mixtures, x[0].double())
        return head.cls_embed(queries), predictor.masks(queries)

    head.predict_last = predict_last
    return model


def network_inputs(model: nn.Module) -> list[torch.Tensor]:
    """A list that collects every image (3, H, W) that the segmentor's backbone gets."""
    inputs = []
    model.backbone.register_forward_pre_hook(lambda _, args: inputs.append(args[0][0]))
    return inputs


def assert_same_prediction(sample, scores):
    torch.testing.assert_close(sample.seg_logits.data, scores, rtol=0, atol=1e-9)
    classes = sample.pred_sem_seg.data[0]
    assert torch.equal(classes, scores.argmax(0))
    assert len(classes.unique()) == len(scores)  # or the comparison would say little


SHAPES = {'odd': (601, 803), 'wide': (31, 313), 'tall': (211, 37)}


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('name', ['faseg_swin-t_ade20k', 'faseg_swin-b_ade20k', CITYSCAPES])
@torch.no_grad()
def test_single_scale(name, shape, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES[shape])
    cfg, sizes = load(name), RELEASED[name]
    model = stand_in(cfg)
    inputs = network_inputs(model)
    (sample,) = model.test_step(pseudo_collate([dataset(cfg, tmp_path, 'test')[0]]))

    view = resized(image, sizes.shortest, sizes.longest)
    assert torch.equal(inputs[0], network_input(view))
    assert_same_prediction(sample, class_scores(model, view, image.size))


@pytest.mark.full_size
@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('faseg_swin-t_ade20k', 'wide'),
        ('faseg_swin-b_ade20k', 'odd'),
        ('faseg_swin-l_ade20k', 'odd'),
        (CITYSCAPES, 'odd'),
    ],
)
@torch.no_grad()
def test_multi_scale(name, shape, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES[shape])
    cfg, sizes = load(name), RELEASED[name]
    model = stand_in(cfg)
    inputs = network_inputs(model)
    batch = pseudo_collate([dataset(cfg, tmp_path, 'test', cfg.tta_pipeline)[0]])
    (sample,) = MODELS.build(cfg.tta_model | dict(module=model)).test_step(batch)

    expected = [network_input(view) for view in views(image, sizes)]
    assert len(inputs) == len(expected) == 12
    assert all(torch.equal(*pair) for pair in zip(inputs, expected, strict=True))
    assert_same_prediction(sample, multi_scale_scores(model, image, sizes))


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        *(('faseg_swin-t_ade20k', size) for size in SHAPES.values()),
        ('faseg_swin-b_ade20k', SHAPES['odd']),
        (CITYSCAPES, (64, 128)),  # twice as wide as high, as all of Cityscapes
    ],
)
def test_training_crop(name, size, tmp_path):
    image, labels = write_image(tmp_path, name, size)
    cfg = load(name)
    fill = name != CITYSCAPES
    data, preprocess = dataset(cfg, tmp_path, 'train'), MODELS.build(cfg.model.data_preprocessor)
    for seed in range(6):
        np.random.seed(seed)
        batch = preprocess(pseudo_collate([data[0]]), training=True)
        draw = np.random.RandomState(seed)
        expected = training_crop(image, labels, RELEASED[name], draw, fill)
        assert torch.equal(batch['inputs'][0], expected[0])
        assert torch.equal(batch['data_samples'][0].gt_sem_seg.data, expected[1])


# What docs/preprocessing.md says about the differences


def first_network_input(cfg, data) -> torch.Tensor:
    preprocess = MODELS.build(cfg.model.data_preprocessor)
    return preprocess(pseudo_collate([data]))['inputs'][0]


def test_options_for_the_resize_of_mmsegmentation_and_the_decoder_of_pil(tmp_path):
    name = 'faseg_swin-t_ade20k'
    image, _ = write_image(tmp_path, name, (601, 803))
    options = {
        'test_dataloader.dataset.pipeline.0.imdecode_backend': 'pillow',
        'test_dataloader.dataset.pipeline.1.type': 'ResizeShortestEdge',
        'train_dataloader.dataset.pipeline.2.resize_type': 'ResizeShortestEdge',
    }
    cfg = load(name, options)
    data = dataset(cfg, tmp_path, 'test')
    assert data.pipeline.transforms[0].imdecode_backend == 'pillow'
    stock = cv2.resize(np.array(image), (684, 512), interpolation=cv2.INTER_LINEAR)
    assert torch.equal(first_network_input(cfg, data[0]), network_input(Image.fromarray(stock)))
    resize = dataset(cfg, tmp_path, 'train').pipeline.transforms[2].resize
    assert type(resize) is ResizeShortestEdge


@pytest.mark.parametrize(('mode', 'levels'), [('RGB', 0), ('L', 0), ('CMYK', 1)])
@pytest.mark.parametrize('progressive', [False, True])
def test_decoders_differ_in_cmyk_files_only(mode, levels, progressive, tmp_path):
    image, _ = write_image(tmp_path, 'ade20k', (67, 91))
    image.convert(mode).save(tmp_path / 'image.jpg', progressive=progressive)
    opencv, pil = (
        LoadImageFromFile(imdecode_backend=backend)(dict(img_path=str(tmp_path / 'image.jpg')))
        for backend in ('cv2', 'pillow')
    )
    assert cv2.absdiff(opencv['img'], np.ascontiguousarray(pil['img'])).max() == levels


@needs_camvid
def test_photographs_are_decoded_as_by_pil():
    load_image = LoadImageFromFile()
    for path in CAMVID_ROOT.glob('images/val/*.jpg'):
        ours = load_image(dict(img_path=str(path)))['img']
        np.testing.assert_array_equal(ours[..., ::-1], np.array(Image.open(path)))


@needs_camvid
@pytest.mark.parametrize(
    ('shortest', 'mean', 'largest', 'labels'),
    [(180, 2.40, 72, 2.55), (252, 1.78, 76, 1.83), (360, 0, 0, 0), (540, 0.28, 1, 0.49)],
)
def test_differences_to_the_resize_of_mmsegmentation(shortest, mean, largest, labels):
    """Grey levels, and percent of the labels, on the 360 x 480 images of CamVid's val split."""
    init_default_scope('mmseg')
    resizes = [
        TRANSFORMS.build(dict(type=kind, scale=shortest, max_size=2048))
        for kind in ('ResizeShortestEdge', 'AntialiasedResizeShortestEdge')
    ]
    means, maxima, labels_differ = [], [], []
    for path in sorted(CAMVID_ROOT.glob('images/val/*.jpg')):
        label_path = CAMVID_ROOT / f'annotations/val/{path.stem}.png'
        image, label_map = np.array(Image.open(path)), np.array(Image.open(label_path))
        stock, released = (
            resize(dict(img=image, gt_seg_map=label_map, seg_fields=['gt_seg_map']))
            for resize in resizes
        )
        difference = cv2.absdiff(stock['img'], released['img'])
        means.append(difference.mean())
        maxima.append(difference.max())
        labels_differ.append((stock['gt_seg_map'] != released['gt_seg_map']).mean())
    assert np.mean(means) == pytest.approx(mean, abs=0.005)
    assert max(maxima) == largest
    assert 100 * np.mean(labels_differ) == pytest.approx(labels, abs=0.005)
