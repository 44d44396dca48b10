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
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from models.small import head_config
from PIL import Image
from PIL.Image import Resampling, Transpose
from torch import nn

from mmseg_faseg.apis import load_config

CONFIGS = Path(__file__).parents[1] / 'configs'
CAMVID_ROOT = Path(os.environ.get('CAMVID_ROOT') or Path(__file__).parents[1] / 'data/camvid')
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
    'faseg_r50_ade20k': Sizes(512, 2048, VIEWS_512, 3584, 2048, (512, 512)),
    'faseg_swin-t_ade20k': Sizes(512, 2048, VIEWS_512, 3584, 2048, (512, 512)),
    'faseg_swin-b_ade20k': Sizes(640, 2560, VIEWS_640, 4480, 2560, (640, 640)),
    'faseg_swin-l_ade20k': Sizes(640, 2560, VIEWS_512, 3584, 2560, (640, 640)),
    'faseg_r50_cityscapes': Sizes(1024, 2048, VIEWS_1024, 4096, 4096, (512, 1024)),
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
    class_logits, masks = (last[-1] for last in model.decode_head(model.backbone(inputs)))
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


def load(name: str, **options):
    cfg = load_config(str(CONFIGS / f'{name}.py'), options)
    init_default_scope('mmseg')
    return cfg


def write_image(root: Path, name: str, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Noise of (H, W), which a resize filter cannot hide in, and labels; as they are decoded."""
    ade20k = 'ade20k' in name
    suffixes = ('.jpg', '.png') if ade20k else ('_leftImg8bit.png', '_gtFine_labelTrainIds.png')
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels[..., 0] //= 2  # so that channels cannot be exchanged
    pixels[..., 2] = 255 - pixels[..., 2] // 3
    labels = rng.choice(np.array([0, 1, 9, 150 if ade20k else 255], np.uint8), size)
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


def our_views(cfg, batch) -> list[torch.Tensor]:
    """Network inputs (3, H, W) of the views in a batch of one image."""
    preprocess = MODELS.build(cfg.model.data_preprocessor)
    pairs = zip(batch['inputs'], batch['data_samples'], strict=True)
    return [
        preprocess(dict(inputs=list(inputs), data_samples=list(samples)))['inputs'][0]
        for inputs, samples in pairs
    ]


def small_model(cfg, multi_scale: bool = False) -> nn.Module:
    """The config's segmentor with a narrow ResNet-18, and weights that tell classes apart."""
    torch.manual_seed(0)
    norm = dict(type='BN', requires_grad=True)
    cfg.model.backbone = dict(type='ResNet', depth=18, base_channels=4, norm_cfg=norm)
    cfg.model.decode_head = head_config(num_classes=3) | dict(in_channels=[4, 8, 16, 32])
    cfg.model.keep_scores = True
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    nn.init.normal_(model.decode_head.mask_embed[-1].weight)
    nn.init.normal_(model.decode_head.cls_embed.weight, std=0.3)
    return MODELS.build(cfg.tta_model | dict(module=model)) if multi_scale else model


def assert_same_prediction(sample, scores):
    """Scores to rounding; the class map wherever rounding cannot decide it."""
    torch.testing.assert_close(sample.seg_logits.data, scores, rtol=0, atol=1e-5)
    best, second = scores.topk(2, dim=0).values
    decided = best - second > 2e-5
    assert decided.float().mean() > 0.999
    classes = sample.pred_sem_seg.data[0]
    assert torch.equal(classes[decided], scores.argmax(0)[decided])
    assert len(classes.unique()) == len(scores)  # or the comparison would say little


SHAPES = {'odd': (67, 91), 'wide': (31, 313), 'tall': (211, 37)}


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('name', RELEASED)
def test_network_input(name, shape, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES[shape])
    cfg, sizes = load(name), RELEASED[name]
    batch = pseudo_collate([dataset(cfg, tmp_path, 'test')[0]])
    batch = {key: [values] for key, values in batch.items()}
    (inputs,) = our_views(cfg, batch)
    expected = network_input(resized(image, sizes.shortest, sizes.longest))
    assert torch.equal(inputs, expected)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('name', RELEASED)
def test_network_inputs_of_a_multi_scale_test(name, shape, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES[shape])
    cfg = load(name)
    batch = pseudo_collate([dataset(cfg, tmp_path, 'test', cfg.tta_pipeline)[0]])
    inputs = our_views(cfg, batch)
    expected = views(image, RELEASED[name])
    assert len(inputs) == len(expected) == 12
    for got, view in zip(inputs, expected, strict=True):
        assert torch.equal(got, network_input(view))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('name', RELEASED)
@torch.no_grad()
def test_class_map(name, shape, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES[shape])
    cfg, sizes = load(name), RELEASED[name]
    model = small_model(cfg)
    (sample,) = model.test_step(pseudo_collate([dataset(cfg, tmp_path, 'test')[0]]))
    resized_image = resized(image, sizes.shortest, sizes.longest)
    assert_same_prediction(sample, class_scores(model, resized_image, image.size))


@pytest.mark.parametrize('name', RELEASED)
@torch.no_grad()
def test_class_map_of_a_multi_scale_test(name, tmp_path):
    image, _ = write_image(tmp_path, name, SHAPES['wide'])
    cfg = load(name)
    model = small_model(cfg, multi_scale=True)
    batch = pseudo_collate([dataset(cfg, tmp_path, 'test', cfg.tta_pipeline)[0]])
    (sample,) = model.test_step(batch)
    assert_same_prediction(sample, multi_scale_scores(model.module, image, RELEASED[name]))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('name', RELEASED)
def test_training_crop(name, shape, tmp_path):
    cityscapes = name == 'faseg_r50_cityscapes'
    if cityscapes and shape != 'wide':
        pytest.skip('Cityscapes has one size only, twice as wide as high')
    height, width = (64, 128) if cityscapes else SHAPES[shape]
    image, labels = write_image(tmp_path, name, (height, width))
    cfg = load(name)
    data, preprocess = dataset(cfg, tmp_path, 'train'), MODELS.build(cfg.model.data_preprocessor)
    for seed in range(10):
        np.random.seed(seed)
        batch = preprocess(pseudo_collate([data[0]]), training=True)
        draw = np.random.RandomState(seed)
        expected = training_crop(image, labels, RELEASED[name], draw, fill=not cityscapes)
        assert torch.equal(batch['inputs'][0], expected[0])
        assert torch.equal(batch['data_samples'][0].gt_sem_seg.data, expected[1])
