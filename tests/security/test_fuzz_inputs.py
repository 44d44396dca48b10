"""Whatever images, command lines and files of a work dir hold, the outcome is a result or one line.

``FUZZ=70 pytest tests/security`` tries seventy times as many, other ones each time.
"""

import copy
import io
import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmseg_faseg.apis import UserError, load_config, parse_options
from mmseg_faseg.apis.config import apply_options
from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.engine.checks.pairs import Expected
from mmseg_faseg.engine.checks.reading import PairReader, Seen
from mmseg_faseg.engine.checks.seen import SeenFiles
from tests.security.fuzzing import edited, edits, many

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
LABELS = IMAGE[..., 0] // 86
FORMATS = ['png', 'jpeg', 'bmp', 'tiff', 'webp', 'gif', 'ppm']


def picture(array: np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    """Of one pair of files, whose content the tests change."""
    root = tmp_path_factory.mktemp('pair')
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
        (root / folder / 'a.png').write_bytes(picture(LABELS, 'png'))
    dataset = BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')],
    )
    return PairReader(dataset, [0], Expected(num_classes=3, ignore_index=255, channels=3))


def read_pair(reader: PairReader, image: bytes, labels: bytes) -> Seen:
    info = reader.info(0)
    for key, content in (('img_path', image), ('seg_map_path', labels)):
        with open(info[key], 'wb') as file:
            file.write(content)
    seen = reader[0]
    assert isinstance(seen, Seen)
    if seen.problem is not None:
        assert len(seen.problem[1].splitlines()) == 1
        assert 'a.png' in seen.problem[1]
    return seen


@pytest.mark.parametrize('kind', FORMATS)
def test_sound_pairs_have_no_problem(reader, kind):
    """Were all refused, none of the tests below could fail."""
    assert read_pair(reader, picture(IMAGE, kind), picture(LABELS, 'png')).problem is None


@pytest.mark.parametrize('kind', FORMATS)
@many(150)
@given(changes=edits)
def test_edited_images(reader, kind, changes):
    read_pair(reader, edited(picture(IMAGE, kind), changes), picture(LABELS, 'png'))


@pytest.mark.parametrize('kind', ['png', 'bmp', 'tiff', 'gif'])
@many(150)
@given(changes=edits)
def test_edited_label_maps(reader, kind, changes):
    read_pair(reader, picture(IMAGE, 'png'), edited(picture(LABELS, kind), changes))


@many(150)
@given(
    mode=st.sampled_from(['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I', 'F', 'I;16', 'YCbCr']),
    kind=st.sampled_from(FORMATS),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    value=st.integers(0, 255),
    as_labels=st.booleans(),
)
def test_images_of_any_mode_and_size(reader, mode, kind, size, value, as_labels):
    stream = io.BytesIO()
    try:
        with warnings.catch_warnings(action='ignore', category=DeprecationWarning):  # of mode I
            Image.new(mode, size, value if len(mode) == 1 else 0).save(stream, kind)
    except (OSError, ValueError, KeyError, TypeError):  # the format has no such mode
        return
    other = picture(LABELS, 'png')
    read_pair(reader, *([other, stream.getvalue()] if as_labels else [stream.getvalue(), other]))


TOY = load_config('mmseg_faseg::faseg_toy.py')
keys = st.lists(
    st.sampled_from(
        [
            *('model', 'decode_head', 'num_queries', 'train_dataloader', 'dataset', 'pipeline'),
            *('param_scheduler', '0', '-1', '99', 'type', '_delete_', 'work_dir', 'modle', ''),
        ]
    )
    | st.text(max_size=4),
    min_size=1,
    max_size=5,
).map('.'.join)
texts = st.text(st.sampled_from('a1,.=[](){}"\'-e \\\nTrueNone'), max_size=20) | st.text(max_size=8)


@many(1500)
@given(arguments=st.lists(st.tuples(keys, texts).map('='.join) | texts, max_size=3))
def test_options_of_any_text(arguments):
    try:
        options = parse_options(arguments)
        cfg = apply_options(copy.deepcopy(TOY), options)
    except UserError as error:
        assert str(error)
    else:
        assert isinstance(cfg, Config)


@many(300)
@given(content=st.binary(max_size=40) | st.text(max_size=9).map(lambda text: 40 * text.encode()))
def test_pointers_to_checkpoints(content, tmp_path_factory):
    work_dir = tmp_path_factory.getbasetemp() / 'pointer'
    work_dir.mkdir(exist_ok=True)
    (work_dir / 'last_checkpoint').write_bytes(content)
    try:
        assert newest_whole_checkpoint(work_dir) == (None, [])
    except UserError as error:  # it names a file that is there
        assert str(work_dir) in str(error)


entries = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(['stamps', 'counts', 'warnings', 'labelled', '0', 'a']),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.fixture(scope='module')
def remembered(reader, tmp_path_factory):
    """The file of what was seen of the pair, and what it holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        read_pair(reader, picture(IMAGE, 'png'), picture(LABELS, 'png'))
        seen = SeenFiles(reader)
        seen.add(reader.info(0), reader[0])
        seen.save()
        yield seen._file, json.loads(seen._file.read_text())


@many(300)
@given(
    place=st.sampled_from(['stamps', 'counts', 'warnings', 'labelled', None]),
    value=entries,
    changes=edits | st.none(),
)
def test_memories_of_any_content(reader, remembered, place, value, changes):
    file, content = remembered
    content = copy.deepcopy(content)
    (entry,) = content.values()
    if place is None:
        content = value
    else:
        entry[place] = value
    data = json.dumps(content).encode()
    file.write_bytes(edited(data, changes) if changes else data)
    seen = SeenFiles(reader).get(reader.info(0))
    assert seen is None or all(isinstance(count, int) for count in seen.counts.values())
