"""Predictor gives what MMSegmentation's inference gives, from whatever holds an image."""

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image

import mmseg_faseg
from mmseg_faseg import Predictor
from mmseg_faseg.apis import load_stored_config, predictor
from mmseg_faseg.apis.prediction import class_map, share_of_scores
from mmseg_faseg.errors import UserError
from mmseg_faseg.models.merging.scores import StoredScores
from tests.helpers.random_checkpoint import CLASSES, PALETTE, picture, save_checkpoint, small_config
from tests.helpers.tools import REPOSITORY

RESIZE = dict(type='AntialiasedResizeShortestEdge', scale=48, max_size=160)
MODELS_TRIED = {
    'faseg': dict(),
    'resized': dict(pipeline=(RESIZE,)),
    'sliding': dict(mode='slide', crop_size=(48, 48), stride=(32, 32)),
    'mask-wise': dict(mode='whole', merging='mask-wise', quality_thr=0.1, overlap_thr=0.5),
    'mask2former': dict(base='mask2former_toy'),
}


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    return {
        name: save_checkpoint(folder / f'{name}.pth', small_config(**changes))
        for name, changes in MODELS_TRIED.items()
    }


@pytest.fixture(scope='module')
def predict(checkpoints):
    return Predictor(checkpoints['faseg'], device='cpu')


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.fromarray(picture(61, 75)).save(path)
    return path


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
@pytest.mark.parametrize('name', MODELS_TRIED)
def test_labels_are_those_of_mmsegmentations_inference(checkpoints, tmp_path, name, suffix):
    file = tmp_path / f'photo.{suffix}'
    Image.fromarray(picture(61, 75)).save(file)
    checkpoint = str(checkpoints[name])
    model = init_model(load_stored_config(checkpoint), checkpoint, device='cpu')
    expected = inference_model(model, str(file)).pred_sem_seg.data[0].numpy()
    found = Predictor(checkpoint, device='cpu')(file)
    assert found.label_map.dtype == np.uint8
    assert np.array_equal(found.label_map, expected)
    by_scores = Predictor(checkpoints['faseg'], device='cpu')(file).label_map
    assert len(np.unique(by_scores)) > 1
    if name != 'faseg':
        assert not np.array_equal(expected, by_scores)


def test_any_input_any_number_of_times_in_any_order(predict, photo):
    bgr = cv2.imread(str(photo))
    inputs = {
        'array': lambda: predict(bgr, channels='bgr'),
        'path': lambda: predict(photo),
        'text': lambda: predict(str(photo)),
        'rgb': lambda: predict(bgr[..., ::-1], channels='rgb'),
        'pil': lambda: predict(Image.open(photo)),
        'list': lambda: predict([photo, bgr], channels='bgr')[1],
        'float': lambda: predict(bgr[..., ::-1] / 255, channels='rgb'),
    }
    first = predict(photo).label_map
    for name in [*inputs, *reversed(inputs)]:
        assert np.array_equal(inputs[name]().label_map, first), name


@pytest.mark.parametrize('batch_size', [1, 2, 3])
def test_a_list_of_several_sizes(checkpoints, predict, batch_size):
    images = [picture(*size, seed) for seed, size in enumerate([(64, 64), (64, 64), (40, 90)])]
    together = Predictor(checkpoints['faseg'], device='cpu', batch_size=batch_size)
    found = together(images, channels='rgb')
    for image, one in zip(images, found, strict=True):
        alone = predict(image, channels='rgb')
        assert one.label_map.shape == image.shape[:2]
        assert (one.label_map == alone.label_map).mean() > 0.999  # rounding may differ in batches
        assert one.confidence == pytest.approx(alone.confidence, abs=1e-3)


def test_an_empty_list(predict):
    assert predict([]) == []


def test_areas_and_confidence_are_those_of_the_scores(checkpoints, predict, photo):
    checkpoint = str(checkpoints['faseg'])
    model = init_model(load_stored_config(checkpoint), checkpoint, device='cpu')
    model.keep_scores = True
    scores = inference_model(model, str(photo)).seg_logits.data
    sure, labels = (scores / scores.sum(0)).max(0)
    found = predict(photo)
    assert found.classes == CLASSES
    assert found.palette == tuple(map(tuple, PALETTE))
    assert sum(found.pixels.values()) == 61 * 75
    assert sum(found.areas.values()) == pytest.approx(1)
    assert list(found.pixels.values()) == sorted(found.pixels.values(), reverse=True)
    assert found.pixels.keys() == found.confidence.keys() and len(found.pixels) > 1
    for name, share in found.areas.items():
        mine = labels == CLASSES.index(name)
        assert share == pytest.approx(mine.float().mean().item())
        assert found.confidence[name] == pytest.approx(sure[mine].mean().item(), abs=1e-5)


def test_a_tile_that_holds_the_image_changes_nothing(checkpoints, predict, photo):
    tiled = Predictor(checkpoints['faseg'], device='cpu', tile=75)(photo)
    assert np.array_equal(tiled.label_map, predict(photo).label_map)
    assert tiled.confidence == predict(photo).confidence


def test_tiles_go_through_the_pipeline_like_images(checkpoints, monkeypatch):
    """Scores that are a pixel's own colours come out as if there were no tiles."""
    tiled = Predictor(checkpoints['faseg'], device='cpu', tile=(32, 48), batch_size=3)
    sizes = []

    def colours(inputs, samples):
        sizes.extend(image.shape[-2:] for image in inputs)
        return [StoredScores(image.double()) for image in inputs]

    tiled.classes, tiled.palette = CLASSES[:3], PALETTE[:3]
    monkeypatch.setattr(tiled, '_run', colours)
    image = picture(100, 130)
    found = tiled(image, channels='rgb')
    assert set(sizes) == {(32, 48)} and len(sizes) > 9
    expected = image[..., ::-1].argmax(-1)  # the pipeline works on BGR
    clear = np.sort(image, -1)[..., 2] > np.sort(image, -1)[..., 1]
    assert np.array_equal(found.label_map[clear], expected[clear])


@pytest.mark.parametrize('name', ['faseg', 'mask2former'])
def test_tta_is_that_of_the_config(checkpoints, photo, name):
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope

    cfg = load_stored_config(str(checkpoints[name]))
    steps = [step for step in cfg.tta_pipeline]
    steps[1].transforms = [part for part in steps[1].transforms if 'Annot' not in part[0].type]
    model = init_model(cfg, str(checkpoints[name]), device='cpu')
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = pseudo_collate([Compose(steps)(dict(img_path=str(photo)))])
        averaging = MODELS.build(dict(type='FASegTTAModel', module=model))
    expected = averaging.test_step(data)[0].pred_sem_seg.data[0].numpy()
    found = Predictor(checkpoints[name], device='cpu', tta=True)(photo).label_map
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, Predictor(checkpoints[name], device='cpu')(photo).label_map)


def test_tta_where_the_config_has_none(checkpoints, tmp_path):
    cfg = small_config()
    cfg.pop('tta_pipeline')
    predict = Predictor(save_checkpoint(tmp_path / 'a.pth', cfg), device='cpu', tta=True)
    image = picture(64, 96)
    found, mirrored = predict([image, image[:, ::-1]], channels='rgb')
    assert (found.label_map == mirrored.label_map[:, ::-1]).mean() > 0.999
    plain, of_mirror = Predictor(checkpoints['faseg'], device='cpu')(
        [image, image[:, ::-1]], channels='rgb'
    )
    assert (plain.label_map == of_mirror.label_map[:, ::-1]).mean() < 0.999


def test_amp_runs_the_network_in_half_precision(checkpoints, photo):
    predict = Predictor(checkpoints['faseg'], device='cpu', amp=True)
    kinds = set()
    predict.model.backbone.layer1.register_forward_hook(lambda _, __, out: kinds.add(out.dtype))
    found = predict(photo)
    assert kinds == {torch.bfloat16}
    assert sum(found.areas.values()) == pytest.approx(1)


@pytest.mark.parametrize('size', [(1, 1), (1, 5000), (5000, 1), (3, 2)])
@pytest.mark.parametrize('name', ['faseg', 'resized', 'mask2former'])
def test_strips_of_pixels(checkpoints, name, size):
    found = Predictor(checkpoints[name], device='cpu')(picture(*size), channels='rgb')
    assert found.label_map.shape == size
    assert found.overlay().shape[0] >= size[0]


def test_names_and_colours_of_classes(tmp_path):
    for number, (meta, classes) in enumerate(
        [
            (dict(classes=['a', 'b', 'a', 'c']), ('a', 'b', 'a (2)', 'c')),
            (
                dict(classes=['a', 'b'], palette=PALETTE),
                ('class 0', 'class 1', 'class 2', 'class 3'),
            ),
            (dict(classes=CLASSES, palette=[[0, 0, 300]] * 4), CLASSES),
        ]
    ):
        path = save_checkpoint(tmp_path / f'{number}.pth', small_config(), meta)
        predict = Predictor(path, device='cpu')
        assert predict.classes == classes
        assert len(set(predict.palette)) == 4


def test_more_classes_than_a_byte_can_count():
    scores = torch.zeros(300, 2, 3)
    scores[299, 0], scores[7, 1] = 1, 1
    found = class_map(StoredScores(scores), 300, share_of_scores)
    assert found.labels.tolist() == [[299] * 3, [7] * 3]
    assert found.confidence[[7, 299]].tolist() == [1, 1]


def test_scores_that_are_not_finite_are_no_prediction():
    with pytest.raises(UserError, match='class scores are not finite'):
        class_map(StoredScores(torch.full((3, 2, 2), torch.nan)), 3, share_of_scores)


def test_overlays_and_supervision(predict, photo):
    found = predict(photo)
    assert found.overlay(legend=False).shape == (61, 75, 3)
    with_legend = found.overlay()
    assert np.array_equal(with_legend[:61, :75], found.overlay(legend=False))
    assert with_legend.shape[1] > 75
    supervision = pytest.importorskip('supervision')
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert list(detections.data['class_name']) == list(found.areas)
    assert detections.mask.sum((1, 2)).tolist() == list(found.pixels.values())
    assert detections.confidence.tolist() == pytest.approx(list(found.confidence.values()))
    assert np.array_equal(detections.class_id[detections.mask.argmax(0)], found.label_map)


def test_supervision_that_is_not_installed(predict, photo, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'supervision', None)
    with pytest.raises(UserError, match=r"pip install 'mmseg_faseg\[supervision\]'"):
        predict(photo).to_supervision()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(tile=5), 'tile must be a side or a height and width, at least 32, got 5'),
        (dict(tile=(64, 64, 64)), 'tile must be'),
        (dict(overlap=1.0), 'overlap must be a share from 0 to below 1, got 1.0'),
        (dict(batch_size=0), 'batch_size must be at least 1, got 0'),
        (dict(device='gpu'), "device 'gpu' cannot be used"),
        (dict(device='cuda:99'), "device 'cuda:99' cannot be used"),
        (dict(config='nowhere.py'), 'config nowhere.py'),
    ],
)
def test_arguments_that_cannot_be(checkpoints, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        Predictor(checkpoints['faseg'], **arguments)
    assert '\n' not in str(error.value)


def test_whole_masks_have_no_tiles(checkpoints):
    with pytest.raises(UserError, match="tile needs test_cfg.merging='argmax'"):
        Predictor(checkpoints['mask-wise'], device='cpu', tile=64)


def test_checkpoints_of_others(tmp_path, checkpoints):
    weights = torch.load(checkpoints['faseg'], weights_only=True)
    files = {
        'another project': dict(model=dict(weight=torch.zeros(3))),
        'another model': dict(weights, state_dict=dict(weight=torch.zeros(3))),
        'no finite weights': dict(
            weights, state_dict={k: v * torch.nan for k, v in weights['state_dict'].items()}
        ),
    }
    messages = ['carries no config', 'of another model', 'not finite']
    for (name, content), message in zip(files.items(), messages, strict=True):
        torch.save(content, tmp_path / f'{name}.pth')
        with pytest.raises(UserError, match=f'{name}.pth.*{message}') as error:
            Predictor(tmp_path / f'{name}.pth')
        assert '\n' not in str(error.value)
    (tmp_path / 'photo.pth').write_bytes(b'no checkpoint')
    for name in ('photo.pth', 'nowhere.pth', '.'):
        with pytest.raises(UserError):
            Predictor(tmp_path / name)


def test_a_config_for_other_classes(tmp_path, checkpoints):
    cfg = small_config()
    cfg.model.decode_head.num_classes = 5
    (tmp_path / 'other.py').write_text(cfg.pretty_text)
    with pytest.raises(UserError, match='faseg.pth was made for 4 classes, the config has 5'):
        Predictor(checkpoints['faseg'], tmp_path / 'other.py')


def test_detectors_are_told_apart(tmp_path):
    from mmseg_faseg.apis import load_config

    cfg = load_config('mmseg_faseg::faseg_toy-panoptic.py')
    torch.save(dict(state_dict={}, meta=dict(cfg=cfg.pretty_text)), tmp_path / 'a.pth')
    with pytest.raises(UserError, match='a.pth holds a FASegDetector, which finds objects'):
        Predictor(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [
        ([dict(type='LoadImageFromFile', color_type='grayscale')], "must begin with .*grayscale'"),
        ([dict(type='RandomFlip', prob=0.0), dict(type='PackSegInputs')], 'must begin with'),
        ([], 'must begin with'),
    ],
)
def test_pipelines_that_read_something_else(checkpoints, tmp_path, pipeline, message):
    cfg = small_config()
    cfg.test_dataloader.dataset.pipeline = pipeline
    (tmp_path / 'other.py').write_text(cfg.pretty_text)
    with pytest.raises(UserError, match=message):
        Predictor(checkpoints['faseg'], tmp_path / 'other.py')


def test_a_pipeline_that_cannot_take_an_image(checkpoints, tmp_path):
    cfg = small_config(pipeline=(dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.5),))
    (tmp_path / 'other.py').write_text(cfg.pretty_text)
    predict = Predictor(checkpoints['faseg'], tmp_path / 'other.py', device='cpu')
    with pytest.raises(UserError, match='test pipeline cannot take an image of 80 x 70: KeyError'):
        predict(picture(70, 80), channels='rgb')


@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory.'),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_too_little_memory(predict, monkeypatch, error):
    def run(*_):
        raise error

    monkeypatch.setattr(predict, '_run', run)
    with pytest.raises(UserError, match='too little memory for 80 x 70 pixels: take tile=1024'):
        predict(picture(70, 80), channels='rgb')


def test_other_errors_keep_their_trace(predict, monkeypatch):
    monkeypatch.setattr(predict, '_run', lambda *_: [][0])
    with pytest.raises(IndexError):
        predict(picture(70, 80), channels='rgb')


def test_what_holds_no_image(predict):
    for thing in (torch.zeros(3, 4, 4), 3, None, SimpleNamespace()):
        with pytest.raises(UserError, match='an image is a path, an array, a PIL image or a list'):
            predict(thing)


def test_it_is_where_the_docs_say():
    assert mmseg_faseg.Predictor is predictor.Predictor


def test_the_lines_of_the_docs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'runs/street').mkdir(parents=True)
    save_checkpoint(tmp_path / 'runs/street/best_mIoU_iter_1.pth', small_config())
    Image.fromarray(picture(61, 75)).save('photo.jpg')
    page = (REPOSITORY / 'docs/predict.md').read_text()
    (lines,) = re.findall('```python\n(.*?)```', page, re.DOTALL)
    names = {}
    exec(lines, names)
    assert np.array_equal(names['several'][1].label_map, names['found'].label_map)
    assert (tmp_path / 'overlay.png').is_file()
    assert "('sky', 'road', 'tree', 'car')\n(61, 75) uint8" in capsys.readouterr().out
