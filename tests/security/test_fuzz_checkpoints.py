"""Whatever a file holds, reading it succeeds or ends in a ``UserError``, and does nothing else.

``FUZZ=70 pytest tests/security`` tries seventy times as many, other ones each time.
"""

import copy
import io
import os
import pickle
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mmseg_faseg.apis import UserError, load_config, load_stored_config
from mmseg_faseg.checkpoints.convert.reader import read_released
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.compat.safetensors import save_safetensors
from tests.security import hostile
from tests.security.fuzzing import edited, edits, many

FORBIDDEN = ('os.', 'subprocess.', 'socket.', 'shutil.', 'ctypes.', 'import')
HARMLESS = ('os.listdir', 'os.scandir', 'os.walk', 'os.fwalk')
_watched: list[Path] = []
_seen: list[str] = []


def _watch(event: str, arguments: tuple) -> None:
    if not _watched:
        return
    if event == 'open' and isinstance(arguments[1], str):
        if set(arguments[1]) & set('wax+'):
            _seen.append(f'{event} {arguments}')
    elif event == 'import' and arguments[0].startswith('encodings.'):  # of Python's own codecs
        pass
    elif event.startswith(FORBIDDEN) and event not in HARMLESS:
        _seen.append(f'{event} {arguments}')


sys.addaudithook(_watch)


@contextmanager
def nothing_happens(file: Path):
    """Only a ``UserError`` may come out, and nothing may be written, started or imported."""
    _watched.append(file)
    try:
        yield
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert 'weights_only' not in str(error)
    finally:
        _watched.clear()
        seen = list(_seen)
        _seen.clear()
    assert seen == []


FOLDER = Path(tempfile.mkdtemp(prefix='mmseg_faseg_fuzz_'))


def try_reading(data: bytes, suffix: str, read) -> None:
    file = FOLDER / f'file{suffix}'
    file.write_bytes(data)
    with nothing_happens(file):
        read(str(file))


def _safetensors() -> bytes:
    file = FOLDER / 'sound.safetensors'
    save_safetensors(hostile.sound(), file)
    return file.read_bytes()


def _pkl(protocol: int) -> bytes:
    content = hostile.sound()
    content['model'] = {key: value.numpy() for key, value in content.pop('state_dict').items()}
    return pickle.dumps(content, protocol)


SOUND = {
    'zip': (hostile.saved(hostile.sound()), '.pth', read_checkpoint),
    'legacy': (
        hostile.saved(hostile.sound(), _use_new_zipfile_serialization=False),
        '.pth',
        read_checkpoint,
    ),
    'safetensors': (_safetensors(), '.safetensors', read_checkpoint),
    'pkl 2': (_pkl(2), '.pkl', read_released),
    'pkl 4': (_pkl(4), '.pkl', read_released),
    'pkl 5': (_pkl(5), '.pkl', read_released),
}
PICKLE = hostile.zipfile.ZipFile(io.BytesIO(SOUND['zip'][0])).read('archive/data.pkl')


@pytest.mark.parametrize('kind', SOUND)
@many(400)
@given(changes=edits)
def test_edited_files(kind, changes):
    data, suffix, read = SOUND[kind]
    try_reading(edited(data, changes), suffix, read)


@many(1500)
@given(changes=edits)
def test_edited_pickles_with_fitting_checksums(changes):
    try_reading(hostile.with_pickle(edited(PICKLE, changes)), '.pth', read_checkpoint)


def _parts() -> list[bytes]:
    """Instructions with their arguments, of sound and hostile pickles."""
    parts = {bytes([code]) for code in range(256)}
    for data in (PICKLE, _pkl(2), _pkl(4), _pkl(5), *hostile.pickles().values()):
        try:
            steps = [at for _, _, at in hostile.pickle_steps(data[:5000])]
        except Exception:  # it is damaged
            continue
        parts |= {data[start:end] for start, end in zip(steps, steps[1:], strict=False)}
    return sorted(parts)


PARTS = _parts()


@many(3000)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=40))
def test_pickles_of_any_instructions(parts):
    data = b'\x80\x02' + b''.join(parts) + b'.'
    try_reading(data, '.pkl', read_released)


@many(500)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=40))
def test_checkpoints_of_any_instructions(parts):
    data = hostile.with_pickle(b'\x80\x02' + b''.join(parts) + b'.')
    try_reading(data, '.pth', read_checkpoint)


sizes = st.sampled_from([-1, 0, 1, 2, 8, 63, 64, 65, 2**31, 2**40, 2**62, 2**63, 2**70])


@many(1500)
@given(
    count=sizes | st.just(64),
    offset=sizes,
    shape=st.lists(sizes, max_size=4),
    stride=st.lists(sizes, max_size=4),
)
def test_tensors_of_any_size(count, offset, shape, stride):
    data = hostile.tensor_pickle(count, offset, tuple(shape), tuple(stride))
    try_reading(hostile.with_pickle(data), '.pth', read_checkpoint)


# --- stored configs

GIVEN = {
    key: value
    for key, value in load_config('mmseg_faseg::faseg_toy.py').to_dict().items()
    if not key.startswith('_')
}
evil = "__import__('os').system('touch it_ran')"
words = ['os.system', evil, 'http://host/x', '/etc/passwd', '../x', 'mmdet.X', 'ResNet', 'pickle']
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(words),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(['type', '_scope_', 'path', 'init_cfg', 'backend_args', 'a']),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(node, path=()):
    yield path
    if isinstance(node, dict | list | tuple):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            yield from places(child, (*path, key))


PLACES = [path for path in places(GIVEN) if path and not isinstance(path[-1], int)]


@pytest.fixture(scope='module', autouse=True)
def checkpoint_of_text():
    """Reading checkpoints is tried above: here only their texts matter. Our own are read once."""
    names = ('_base_/default_runtime.py', '_base_/models/methods/mask2former.py')
    ours = {f'mmseg_faseg::{name}': load_config(f'mmseg_faseg::{name}') for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'mmseg_faseg.apis.stored_config.read_checkpoint',
            lambda name: dict(meta=dict(cfg=Path(name).read_text())),
        )
        patch.setattr(
            'mmseg_faseg.apis.stored_config.load_config', lambda name: copy.deepcopy(ours[name])
        )
        patch.chdir(FOLDER)
        yield


@many(600)
@given(place=st.sampled_from(PLACES), key=st.none() | st.sampled_from(['type', 'a']), value=values)
def test_configs_with_anything_anywhere(place, key, value):
    cfg = copy.deepcopy(GIVEN)
    node = cfg
    for step in place[:-1]:
        node = list(node)[step] if isinstance(node, tuple) else node[step]
    if key and isinstance(node[place[-1]], dict):
        node[place[-1]][key] = value
    else:
        node[place[-1]] = value
    text = '\n'.join(f'{name} = {item!r}' for name, item in cfg.items())
    try_reading(text.encode(errors='replace'), '.txt', load_stored_config)


@many(1000)
@given(text=st.text(st.sampled_from('a=1,dict()[]{}*:\'"\n\\x-.e_mfor in#'), max_size=60))
def test_configs_of_any_text(text):
    try_reading(f'model={text}'.encode(), '.txt', load_stored_config)


def test_the_watch_sees():
    """Were it blind, none of the above could fail."""
    for act in (lambda: os.system('true'), lambda: open(FOLDER / 'made', 'w').close()):
        with pytest.raises(AssertionError, match='os.system|open'), nothing_happens(FOLDER):
            act()
    with nothing_happens(FOLDER):
        assert isinstance(Config(GIVEN), Config)
