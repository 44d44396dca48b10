"""A file gives what the model gives, at any size, and is written only if it does."""

import json
import os
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from mmseg_faseg.apis import export as export_api
from mmseg_faseg.apis.export import LEAST_EQUAL, export
from mmseg_faseg.apis.exportable import Reference, picture_model
from mmseg_faseg.apis.trained_model import load_segmentor
from mmseg_faseg.errors import UserError
from mmseg_faseg.export import formats, onnx_model
from mmseg_faseg.export import picture_model as picture_model_module
from mmseg_faseg.export.agreement import Agreement
from tests.helpers.bare_environment import make_environment
from tests.helpers.small_checkpoint import MASK2FORMER, NAMES, PALETTE, picture, save_checkpoint
from tests.helpers.tools import REPOSITORY, run

SIZES = [(64, 96), (70, 101), (33, 500), (8, 9), (1, 1), (300, 200)]


def as_input(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder with two pictures, one file that is none, and notes."""
    folder = tmp_path_factory.mktemp('data') / 'images'
    folder.mkdir()
    for index, size in enumerate([(100, 80), (64, 64)]):
        Image.fromarray(picture(*size)).save(folder / f'{index}.png')
    (folder / 'broken.jpg').write_bytes(b'no picture')
    (folder / 'notes.txt').touch()
    return folder


@pytest.fixture(scope='module')
def onnx_file(tmp_path_factory, photos):
    """A small FASeg as an ONNX file for all sizes, and what was said of it."""
    folder = tmp_path_factory.mktemp('onnx')
    checkpoint = save_checkpoint(folder / 'small.pth', data_root=str(photos.parent))
    done = export(checkpoint, folder / 'model.onnx')
    reference = Reference(load_segmentor(checkpoint, device='cpu'))
    return SimpleNamespace(
        path=folder / 'model.onnx', checkpoint=checkpoint, done=done, reference=reference
    )


@pytest.mark.compile
@pytest.mark.parametrize('size', SIZES)
def test_onnx_gives_the_models_classes_at_any_size(onnx_file, size):
    session = onnxruntime.InferenceSession(onnx_file.path)
    image = picture(*size)
    (classes,) = session.run(None, {'image': as_input(image)})
    assert classes.dtype == np.uint8 and classes.shape == (1, *size)
    assert (classes[0] == onnx_file.reference.classes(image)).mean() >= 0.999


def test_the_small_models_tell_pictures_and_pixels_apart(checkpoint):
    """Else equal class maps would say little."""
    reference = Reference(load_segmentor(checkpoint, device='cpu'))
    maps = [reference.classes(picture(*size)).ravel() for size in [(160, 130), (100, 80)]]
    shares = np.bincount(np.concatenate(maps), minlength=5) / sum(map(len, maps))
    assert sum(shares > 0.03) >= 2


@pytest.mark.compile
def test_onnx_says_what_it_takes_and_gives(onnx_file):
    proto = onnx.load(onnx_file.path)
    onnx.checker.check_model(proto)
    (taken,), (given,) = proto.graph.input, proto.graph.output
    dims = [dim.dim_param or dim.dim_value for dim in taken.type.tensor_type.shape.dim]
    assert (taken.name, dims) == ('image', [1, 3, 'height', 'width'])
    dims = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert (given.name, dims) == ('class_map', [1, 'height', 'width'])
    about = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert about == dict(
        classes=list(NAMES), palette=PALETTE, mean=[120.0, 110.0, 100.0], std=[60.0, 55.0, 50.0]
    )


@pytest.mark.compile
def test_nothing_but_the_file_is_left(onnx_file):
    assert sorted(os.listdir(onnx_file.path.parent)) == ['model.onnx', 'small.pth']
    assert onnx_file.done.files == [onnx_file.path]


@pytest.mark.compile
def test_it_is_checked_on_the_test_data_and_on_random_numbers(onnx_file):
    agreement = onnx_file.done.agreement
    assert (agreement['real'].pictures, agreement['random'].pictures) == (2, 2)
    assert min(found.worst for found in agreement.values()) >= 0.999
    assert max(found.score_difference for found in agreement.values()) < 1e-3
    assert onnx_file.done.timed == (100, 80) and min(onnx_file.done.seconds) > 0
    (left_out,) = onnx_file.done.unreadable
    assert 'broken.jpg cannot be read' in left_out


SMALLER = {'fp16': onnx_model.in_half_precision, 'int8': onnx_model.quantised}


@pytest.mark.compile
@pytest.mark.parametrize('precision', SMALLER)
def test_smaller_files_run_and_agree(onnx_file, precision, tmp_path):
    proto = onnx.load(onnx_file.path)
    smaller = SMALLER[precision](onnx.load(onnx_file.path))
    assert bytes_of_weights(smaller) < 0.8 * bytes_of_weights(proto)
    onnx_model.save(smaller, tmp_path / 'small.onnx', ['class_map'], {})
    image = picture(160, 130)
    (classes,) = formats.Onnx.load(tmp_path / 'small.onnx')(as_input(image))
    assert classes.dtype == np.uint8
    expected = onnx_file.reference.result(image)
    assert sure(expected).mean() > 0.5
    assert (classes[0] == expected[0])[sure(expected)].mean() >= LEAST_EQUAL[precision]


def sure(result, lead=0.2):
    """Where the best class leads: elsewhere rounding decides in a model of random weights."""
    second, best = np.sort(result[1], 0)[-2:]
    return best - second > lead * best


def bytes_of_weights(proto):
    return sum(len(weight.raw_data) for weight in proto.graph.initializer)


@pytest.mark.compile
def test_torch_export_of_one_size_gives_scores(onnx_file, photos, tmp_path):
    target = tmp_path / 'model.pt2'
    export(onnx_file.checkpoint, target, size='70x101', scores=True, images=photos / '0.png')
    files = {'classes.json': ''}
    run = torch.export.load(target, extra_files=files).module()
    assert json.loads(files['classes.json']) == list(NAMES)
    image = picture(70, 101)
    with torch.no_grad():
        classes, scores = run(torch.from_numpy(as_input(image)))
    expected = onnx_file.reference.result(image)
    assert Agreement.of([expected], [(classes[0].numpy(), scores[0].numpy())]).worst >= 0.999
    np.testing.assert_allclose(scores[0].numpy(), expected[1], atol=1e-3)


HEADS = {
    'stock': ('mask2former', {'transformer_decoder.num_layers': 3}),
    'ours': ('faseg', MASK2FORMER),
}


@pytest.mark.compile
@pytest.mark.parametrize(
    ('head', 'suffix', 'resize'),
    [('stock', '.xml', 'ResizeShortestEdge'), ('ours', '.onnx', 'AntialiasedResizeShortestEdge')],
)
def test_mask2former_with_pictures_resized_on_the_way(head, suffix, resize, tmp_path):
    base, changes = HEADS[head]
    step = dict(type=resize, scale=72, max_size=200)
    checkpoint = save_checkpoint(tmp_path / 'm.pth', base, resize=(step,), **changes)
    trained = load_segmentor(checkpoint, device='cpu')
    target = tmp_path / f'model{suffix}'
    images = tmp_path / 'photo.png'
    Image.fromarray(picture(72, 96)).save(images)  # which keeps its size
    done = export(checkpoint, target, scores=True, images=images)
    assert [path.suffix for path in done.files] == [suffix, *['.bin'][: suffix == '.xml']]
    run = formats.FORMATS[suffix].load(target)
    for size in [(90, 131), (300, 80)]:
        image = picture(*size)
        classes, scores = run(as_input(image))
        assert classes.shape == (1, *size) and classes.dtype == np.uint8
        expected = Reference(trained).result(image)
        # resizing is rounded to bytes, by OpenCV and Pillow with numbers of 11 and 8 bits
        assert sure(expected).mean() > 0.5
        assert (classes[0] == expected[0])[sure(expected)].mean() >= 0.995
        assert scores[0].shape == expected[1].shape


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp('checkpoint') / 'small.pth')


@pytest.mark.compile
def test_a_file_that_differs_is_not_written(checkpoint, tmp_path, monkeypatch):
    target = tmp_path / 'model.pt2'
    target.write_text('an older file')
    normalised = picture_model_module.PictureModel._normalised
    monkeypatch.setattr(
        picture_model_module.PictureModel,
        '_normalised',
        lambda self, x: normalised(self, x.flip(1)),
    )
    with pytest.raises(UserError, match=r'model.pt2 is not written: in a random picture \d.*99.9%'):
        export(checkpoint, target, size='64x96')
    assert target.read_text() == 'an older file'
    assert os.listdir(tmp_path) == ['model.pt2']


@pytest.fixture
def no_tracing(monkeypatch):
    """Fails where time would be spent."""

    def refuse(*_):
        pytest.fail('traced')

    monkeypatch.setattr(formats, 'trace', refuse)


@pytest.mark.parametrize(
    ('target', 'changes', 'said'),
    [
        ('model.engine', {}, r'must end in .onnx, .pt2, .xml, got .*model.engine'),
        ('nosuch/model.onnx', {}, 'there is no folder .*nosuch'),
        ('model.onnx', dict(size='360'), "--size is height and width .* got '360'"),
        ('model.onnx', dict(size='0x5'), "--size is height and width .* got '0x5'"),
        ('model.onnx', dict(size='20x20000'), '--size .* at most 16384, .* got .20x20000.'),
        ('model.pt2', dict(precision='int8'), '.pt2 takes fp32, got int8'),
        ('model.xml', dict(precision='int8'), '.xml takes fp32, fp16, got int8'),
        ('model.onnx', dict(images='nosuch'), '--images: there is no file or folder nosuch'),
        ('model.onnx', dict(images='{folder}'), 'has no picture that can be read: .*broken.jpg'),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_before_time_is_spent(
    checkpoint, no_tracing, target, changes, said, tmp_path
):
    (tmp_path / 'broken.jpg').touch()
    changes = {key: value.format(folder=tmp_path) for key, value in changes.items()}
    with pytest.raises(UserError, match=said) as caught:
        export(checkpoint, tmp_path / target, **changes)
    assert '\n' not in str(caught.value)


def test_a_folder_that_is_not_writable(checkpoint, no_tracing, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda *_: False)  # root can write everywhere
    with pytest.raises(UserError, match=f'nothing can be written to {tmp_path}'):
        export(checkpoint, tmp_path / 'model.onnx')


def test_a_package_that_is_missing(checkpoint, no_tracing, tmp_path, monkeypatch):
    there = export_api.find_spec
    monkeypatch.setattr(
        export_api, 'find_spec', lambda name: None if name == 'openvino' else there(name)
    )
    with pytest.raises(
        UserError, match=r".xml needs openvino: pip install 'mmseg_faseg\[export\]'"
    ):
        export(checkpoint, tmp_path / 'model.xml')


FCN = dict(type='FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=5)


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(decode_head=FCN), 'has a FCNHead: FASegHead and Mask2FormerHead can be exported'),
        (
            dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))),
            "predicts with test_cfg=.*'slide'.*: mode='whole' and merging='argmax' can be",
        ),
        (dict(test_cfg=dict(mode='whole', merging='mask-wise')), "'mask-wise'"),
        (dict(resize=(dict(type='RandomFlip', prob=0.0),)), 'the test pipeline has RandomFlip'),
    ],
    ids=['head', 'slide', 'mask-wise', 'pipeline'],
)
def test_models_that_cannot_be_exported(no_tracing, changes, said, tmp_path):
    checkpoint = save_checkpoint(tmp_path / 'other.pth', **changes)
    with pytest.raises(UserError, match=said):
        export(checkpoint, tmp_path / 'model.onnx')


def test_a_failure_of_the_tracer_is_one_line(checkpoint, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(
            'no rule for aten.strange\nFor more information, run with TORCH_LOGS=...'
        )

    monkeypatch.setattr(torch.export, 'export', fail)
    with pytest.raises(UserError) as caught:
        export(checkpoint, tmp_path / 'model.onnx')
    assert str(caught.value) == (
        'torch.export does not trace this model for pictures of all sizes '
        '(RuntimeError: no rule for aten.strange): give the size of the pictures, --size HxW'
    )
    assert os.listdir(tmp_path) == []


def test_a_failure_of_the_exporter_is_one_line(checkpoint, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError('Failed to convert\n- report it') from ValueError(
            'no Strange in opset 20\n'
        )

    monkeypatch.setattr(formats, 'trace', lambda *_: None)
    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(UserError, match=r'this model: ValueError: no Strange in opset 20$'):
        export(checkpoint, tmp_path / 'model.onnx')


def test_channels_in_the_order_that_the_model_learned(checkpoint):
    """OpenCV's, where the config does not turn them."""
    trained = load_segmentor(checkpoint, device='cpu')
    trained.model.data_preprocessor.channel_conversion = False
    model, image = picture_model(trained), picture(64, 96)
    with torch.no_grad():
        classes, scores = model(torch.from_numpy(as_input(image)))
    expected = Reference(trained).result(image)
    np.testing.assert_allclose(scores[0].numpy(), expected[1], atol=1e-4)
    assert (classes[0].numpy() == expected[0]).mean() > 0.999


@pytest.mark.compile
@pytest.mark.subprocess
def test_the_script_of_the_docs_runs_without_torch(onnx_file, tmp_path):
    """In an environment that has no packages but ONNX Runtime, NumPy and Pillow."""
    page = (REPOSITORY / 'docs/deploy.md').read_text()
    script = tmp_path / 'segment.py'
    script.write_text(page.split('```python\n# segment.py\n')[1].split('```')[0])
    python = make_environment(tmp_path / 'env', ['onnxruntime', 'numpy', 'pillow'])
    for package in ('torch', 'mmengine', 'onnx', 'mmseg_faseg'):
        assert 'No module named' in run(python, '-c', f'import {package}', cwd=tmp_path).stderr
    image = picture(100, 150)
    Image.fromarray(image).save(tmp_path / 'photo.png')
    done = run(
        python, script, onnx_file.path, 'photo.png', 'labels.png', 'overlay.png', cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    labels = Image.open(tmp_path / 'labels.png')
    assert labels.mode == 'P'
    assert labels.getpalette()[: 3 * len(PALETTE)] == np.ravel(PALETTE).tolist()
    classes = onnx_file.reference.classes(image)
    assert (np.asarray(labels) == classes).mean() >= 0.999
    overlay = np.asarray(Image.open(tmp_path / 'overlay.png')).astype(int)
    blended = (image.astype(int) + np.array(PALETTE)[np.asarray(labels)]) / 2
    assert np.abs(overlay - blended).max() <= 1
    occurring = {NAMES[label] for label in np.unique(classes)}
    assert {line.split(': ')[0] for line in done.stdout.splitlines()} == occurring
