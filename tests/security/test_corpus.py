"""No file runs code, writes, or ends in anything but one line."""

import os
import pickle
import subprocess
import tracemalloc

import numpy as np
import pytest
import torch

from mmseg_faseg.apis import UserError
from mmseg_faseg.apis.convert import convert_file
from mmseg_faseg.checkpoints.convert.reader import read_released
from mmseg_faseg.checkpoints.publish import publish_model
from mmseg_faseg.checkpoints.read import check_checkpoint, read_checkpoint
from tests.security import hostile

CORPUS = dict(hostile.corpus())
ADVICE = ('weights_only', 'add_safe_globals', 'torch.jit.load', 'trust the source')


@pytest.fixture(autouse=True)
def no_code_runs(monkeypatch, tmp_path):
    def ran(*arguments, **_):
        raise AssertionError(f'ran {arguments}')

    for module, name in ((os, 'system'), (subprocess, 'Popen'), (torch, 'load')):
        monkeypatch.setattr(module, name, ran)
    monkeypatch.chdir(tmp_path)


def readers(name):
    yield lambda: read_released(name)
    if not name.endswith('.pkl'):
        yield lambda: (check_checkpoint(name), read_checkpoint(name))
        yield lambda: publish_model(name, 'out.pth')
        yield lambda: convert_file(name, 'out.pth')


@pytest.mark.parametrize('name', CORPUS)
def test_a_hostile_file_is_refused_in_one_line(name, tmp_path):
    (tmp_path / name).write_bytes(CORPUS[name])
    for read in readers(name):
        tracemalloc.start()
        with pytest.raises(UserError) as error:
            read()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * len(CORPUS[name]) + 2**24
        message = str(error.value)
        assert name in message
        assert len(message.splitlines()) == 1
        assert not any(advice in message for advice in ADVICE)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_sound_file_is_not(tmp_path):
    for number, data in enumerate(
        [
            hostile.saved(hostile.sound()),
            hostile.saved(hostile.sound(), _use_new_zipfile_serialization=False),
            hostile.rezipped(hostile.saved(hostile.sound()), lambda name, old: old),
            hostile.with_pickle(hostile.tensor_pickle(64, 0, (4, 4), (16, 1))),
        ]
    ):
        (tmp_path / f'{number}.pth').write_bytes(data)
        assert read_checkpoint(tmp_path / f'{number}.pth')['state_dict']


def test_many_arrays_take_as_many_steps(tmp_path):
    """A search of all that was read, for each array, would take minutes."""
    arrays = {str(number): np.arange(1) for number in range(50_000)}
    (tmp_path / 'many.pkl').write_bytes(pickle.dumps(dict(model=arrays), 2))
    assert len(read_released('many.pkl')) == 50_000


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('flipped.pth', 'is damaged: CRC of record data/0'),
        ('flipped beside.pth', 'is damaged: CRC of record .data/serialization_id'),
        ('bomb.pth', 'record .* is compressed'),
        ('twice.pth', 'two records of the same name'),
        ('tar.pth', 'a tar archive'),
        ('TorchScript.pth', 'a TorchScript program'),
        ('html.pth', 'a page of HTML'),
        ('png.pth', 'a PNG image'),
        ('empty.pth', 'empty'),
        ('zip.pth', 'a zip file, but not of torch.save'),
        ('a pickle of a text.pth', 'a pickle of a str'),
        ('system.pth', 'asks for posix.system'),
        ('deep.pth', 'nested more than 100 deep'),
        ('cycle.pth', 'contains itself'),
        ('laughs.pth', 'its contents have .* bytes or more'),
        ('laughing module.pth', 'a list stands where a name belongs'),
        ('laughing name.pth', 'a list stands where a name belongs'),
        ('laughing attribute.pth', 'a list stands where a name belongs'),
        ('laughing device.pth', 'a list stands where a name belongs'),
        ('laughing axes.pkl', 'has its axes in the order tuple'),
        ('tensor of expanded.pth', 'its contents have .* bytes or more'),
        ('tensor of offset.pth', 'does not lie within its 64 numbers'),
        ('tensor of larger memory.pth', 'no record .* of its size'),
        ('deep.pkl', 'nested more than 100 deep'),
        ('cycle.pkl', 'contains itself'),
        ('laughs.pkl', 'its contents have .* bytes or more'),
        ('object array.pkl', 'of type .O8., not of numbers'),
        ('larger array.pkl', 'has 8 bytes'),
    ],
)
def test_the_reason_is_named(name, reason, tmp_path):
    (tmp_path / name).write_bytes(CORPUS[name])
    with pytest.raises(UserError, match=reason):
        read_released(name)
