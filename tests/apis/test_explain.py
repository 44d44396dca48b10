"""An explanation is one page that needs no other file, of any image, or one line that says why."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from PIL import Image

from mmseg_faseg.apis import UserError, load_config
from mmseg_faseg.apis.explain import explain
from mmseg_faseg.explain.recorder import record
from tests.helpers.configs import load

CLASSES = ['<script>alert(1)</script>', *'bcdefgh']
RNG = np.random.default_rng(0)


def save_checkpoint(file, name, classes, label=0):
    """A model of a config of ours that finds one class everywhere, with random weights."""
    cfg = load(name)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    mask_head = model.panoptic_head if 'panoptic' in name else model.decode_head
    mask_head.cls_embed.bias.data[label] = 10
    data = dict(classes=classes, palette=[[20 * k, 90, 0] for k in range(8)])
    meta = dict(cfg=cfg.pretty_text, dataset_meta=data)
    torch.save(dict(meta=meta, state_dict=model.state_dict()), file)
    return file


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkpoints')
    return {
        name: save_checkpoint(folder / f'{name}.pth', f'{name}_toy', CLASSES)
        for name in ('faseg', 'mask2former')
    }


@pytest.fixture
def photo(tmp_path):
    return picture(tmp_path / 'photo.png', (70, 100, 3))


def picture(file, shape, mode=None, **options):
    pixels = RNG.integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, **options)
    return file


class Links(HTMLParser):
    """What a page would fetch, and the elements it is made of."""

    def __init__(self, page):
        super().__init__()
        self.found, self.tags, self.text = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ('src', 'href', 'srcset', 'data')]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_holds_all_it_shows(checkpoints, photo, tmp_path):
    files = explain(
        checkpoints['faseg'], photo, tmp_path / 'out', beside=checkpoints['mask2former']
    )
    page = files[0].read_text()
    links = Links(page)
    assert links.found and all(link.startswith('data:image/png;base64,') for link in links.found)
    assert not links.tags & {'script', 'link', 'iframe', 'object'}
    assert not re.search(r'https?://|url\(|@import', page)
    assert '<script>alert' not in page  # a name of a class
    text = ' '.join(' '.join(links.text).split())
    for words in ('focus A', 'query points to', 'Bright yellow is where most', 'entropy', 'inside'):
        assert words in text
    for name in ('DynamicFocusPositionalQuery', 'LearnedPositionalQuery', 'Regions of high-res'):
        assert name in text
    assert files[0].name == 'photo.html'
    assert {file.name for file in files} == {file.name for file in (tmp_path / 'out').iterdir()}
    assert len(files) - 1 == len(links.found)
    for file in files[1:]:
        assert np.asarray(Image.open(file).convert('L')).std() > 5
    assert len([file for file in files if file.name.endswith('_beside.png')]) == 1


def test_numbers_on_the_page_are_those_of_the_queries(checkpoints, photo, tmp_path):
    page, *_ = explain(checkpoints['faseg'], photo, tmp_path / 'out', queries=[3, 17])
    text = ' '.join(' '.join(Links(page.read_text()).text).split())
    assert 'query 3:' in text and 'query 17:' in text
    assert len(re.findall(r'query \d+:', text)) == 2
    assert re.search(r'layer 1 2 3 4 5 6 7 8 9 mean entropy( [01]\.\d\d){10} inside', text)


def test_detectors_too(photo, tmp_path):
    ours, stock = (
        save_checkpoint(tmp_path / f'{name}.pth', f'{name}_toy-panoptic', CLASSES)
        for name in ('faseg', 'mask2former')
    )
    page, *pictures = explain(ours, photo, tmp_path / 'out', beside=stock)
    assert len([file for file in pictures if '_beside' in file.name]) == 1
    assert '70 x 100 pixels' in page.read_text()


def test_a_class_that_the_other_model_does_not_find(checkpoints, photo, tmp_path):
    other = save_checkpoint(tmp_path / 'other.pth', 'mask2former_toy', CLASSES, label=1)
    page, *_ = explain(checkpoints['faseg'], photo, tmp_path / 'out', beside=other)
    assert len(re.findall('<td>–</td>', page.read_text())) == 5


def test_a_mask2former_alone_has_no_regions(checkpoints, photo, tmp_path):
    page, *pictures = explain(checkpoints['mask2former'], photo, tmp_path / 'out')
    assert 'Regions' not in page.read_text()
    assert not [file for file in pictures if 'regions' in file.name]


@pytest.mark.parametrize(
    ('name', 'shape', 'mode'),
    [
        ('sides of 33 and 65.jpg', (33, 65, 3), None),
        ('1 x 200.png', (1, 200, 3), None),
        ('1 x 1.png', (1, 1, 3), None),
        ('grey.png', (40, 50), 'L'),
        ('alpha.png', (40, 50, 3), 'RGBA'),
        ('palette.gif', (40, 50, 3), 'P'),
        ('cmyk.jpg', (40, 50, 3), 'CMYK'),
        ('Straße im Regen.png', (40, 50, 3), None),
    ],
)
def test_images_of_any_kind(name, shape, mode, checkpoints, tmp_path):
    file = picture(tmp_path / name, shape, mode)
    page, *_ = explain(checkpoints['faseg'], file, tmp_path / 'out', queries=[0])
    assert f'{shape[0]} x {shape[1]} pixels' in page.read_text()


def test_images_of_16_bits_are_not_clipped(checkpoints, tmp_path):
    pixels = RNG.integers(0, 256, (40, 50)).astype(np.uint8)
    pages = []
    for name, values in (('same', pixels), ('name', pixels.astype(np.uint16) * 257)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / 'photo.png')
        page, *_ = explain(
            checkpoints['faseg'], tmp_path / name / 'photo.png', tmp_path / 'out', queries=[0]
        )
        pages.append(page.read_text())
    assert pages[0] == pages[1]


def test_cameras_that_were_turned(checkpoints, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = picture(tmp_path / 'turned.jpg', (40, 60, 3), exif=exif)
    page, *_ = explain(checkpoints['faseg'], file, tmp_path / 'out', queries=[0])
    assert '60 x 40 pixels' in page.read_text()


def test_large_images_are_made_smaller(checkpoints, tmp_path):
    file = picture(tmp_path / 'large.png', (300, 600, 3))
    page, *_ = explain(checkpoints['faseg'], file, tmp_path / 'out', queries=[0], longest=100)
    assert '50 x 100 pixels' in page.read_text()


def test_the_input_is_what_the_model_sees_in_testing(trained, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        'mmseg_faseg.explain.explanation.record',
        lambda model, inputs: seen.append(inputs) or record(model, inputs),
    )
    cfg = load_config(str(trained.config))
    dataset = cfg.test_dataloader.dataset
    file = sorted((tmp_path / dataset.data_root / 'images').iterdir())[0]
    page, *_ = explain(trained.work_dir, file, tmp_path / 'out')
    image = torch.from_numpy(np.asarray(Image.open(file))).permute(2, 0, 1).float()
    processor = cfg.model.data_preprocessor
    mean, std = (torch.tensor(processor[key])[:, None, None] for key in ('mean', 'std'))
    torch.testing.assert_close(seen[0][0], (image - mean) / std)
    text = page.read_text()
    assert any(name in text for name in ('dark', 'grey', 'bright'))


def test_bad_input_is_one_line(checkpoints, photo, tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'half.png').write_bytes(photo.read_bytes()[:5000])
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'file').touch()
    (tmp_path / 'no_run').mkdir()
    good, out = checkpoints['faseg'], tmp_path / 'out'
    for arguments, options, message in (
        ((good, tmp_path / 'none.png'), {}, 'there is no image .*none.png'),
        ((good, tmp_path), {}, 'there is no image'),
        ((good, tmp_path / 'text.png'), {}, 'text.png is no image'),
        ((good, tmp_path / 'half.png'), {}, 'half.png cannot be read as an image'),
        ((good, tmp_path / 'empty.jpg'), {}, 'empty.jpg is no image'),
        ((tmp_path / 'none.pth', photo), {}, 'there is no checkpoint'),
        ((tmp_path / 'no_run', photo), {}, 'no_run has no checkpoint'),
        ((photo, photo), {}, 'photo.png'),
        ((good, photo), dict(queries=[20]), 'no query 20: .* has 20, from 0 to 19'),
        ((good, photo), dict(queries=[-1]), 'no query -1'),
        ((good, photo), dict(longest=0), 'longest must be at least 1 pixel, got 0'),
        ((good, photo), dict(out=tmp_path / 'file'), 'out must be a folder'),
        ((good, photo), dict(beside=tmp_path / 'none.pth'), 'there is no checkpoint'),
    ):
        with pytest.raises(UserError, match=message) as caught:
            explain(*arguments, **{'out': out, **options})
        assert '\n' not in str(caught.value)
    assert not out.exists()


def test_models_without_queries_are_refused(photo, tmp_path):
    cfg = load('faseg_toy')
    cfg.model.type = 'EncoderDecoder'
    cfg.model.decode_head = dict(
        type='UPerHead',
        in_channels=[8, 16, 32, 64],
        in_index=[0, 1, 2, 3],
        channels=8,
        pool_scales=(1, 2),
        num_classes=8,
        align_corners=False,
    )
    file = tmp_path / 'upernet.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict={}), file)
    with pytest.raises(
        UserError, match='upernet.pth cannot be explained: only FASegHead.*UPerHead'
    ):
        explain(file, photo, tmp_path / 'out')


def test_models_of_other_classes_do_not_stand_beside_each_other(checkpoints, photo, tmp_path):
    other = save_checkpoint(tmp_path / 'other.pth', 'mask2former_toy', 'ABCDEFGH')
    with pytest.raises(UserError, match='other.pth was made for other classes .*A, B, C'):
        explain(checkpoints['faseg'], photo, tmp_path / 'out', beside=other)


def test_weights_of_another_model_are_refused(checkpoints, photo, tmp_path):
    saved = torch.load(checkpoints['faseg'])
    saved['state_dict'].pop('decode_head.query_feat.weight')
    torch.save(saved, tmp_path / 'cut.pth')
    with pytest.raises(UserError, match='cut.pth is of another model.*query_feat'):
        explain(tmp_path / 'cut.pth', photo, tmp_path / 'out')
