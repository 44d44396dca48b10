"""MMEngine's checkpoints load with weights_only, and hostile files do not."""

import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_ceph

from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.compat.pickle_names import plain_names
from mmseg_faseg.compat.plain_data import check_plain
from mmseg_faseg.compat.plain_pickles import Unpickler
from mmseg_faseg.errors import UserError
from tests.security import hostile


def _checkpoint_like_mmengine() -> dict:
    buffer = HistoryBuffer()
    for value in (3.0, 1.0):
        buffer.update(value)
    return dict(
        state_dict=dict(weight=torch.ones(2)),
        meta=dict(epoch=0, iter=2, palette=np.arange(6, dtype=np.uint8).reshape(2, 3)),
        message_hub=dict(log_scalars={'train/loss': buffer}, best=np.float64(48.5)),
    )


def test_mmengine_checkpoint_loads_protected(tmp_path):
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'iter_2.pth')
    loaded = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert buffer.mean() == 2
    assert buffer.statistics('current') == 1
    assert loaded['message_hub']['best'] == 48.5
    assert loaded['meta']['palette'].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize('core', ['core', '_core'])
def test_both_names_of_numpys_module_load(tmp_path, core):
    torch.save(dict(a=np.arange(3), b=np.float32(2)), tmp_path / 'a.pth')
    content = (tmp_path / 'a.pth').read_bytes()
    written = re.search(rb'numpy\._?core\.multiarray', content)[0]
    # The archive's checksum does not cover what is changed here: rewrite the pickle itself.
    name = f'numpy.{core}.multiarray'.encode()
    _rewrite_pickle(tmp_path / 'a.pth', lambda data: data.replace(written, name))
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded['a'].tolist() == [0, 1, 2]
    assert loaded['b'] == 2


def _rewrite_pickle(file, change) -> None:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        content = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(file, 'w') as archive:
        for info, data in content.items():
            new = change(data) if info.filename.endswith('data.pkl') else data
            archive.writestr(info.filename, new)


class _Call:
    """Pickles as the call of a function, which unpickling would make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        """For pickle, which calls what it can call only: a result may be called in turn."""


@pytest.mark.parametrize(
    'attack',
    [
        lambda marker: _Call(os.system, f'touch {marker}'),
        lambda marker: _Call(subprocess.call, ['touch', str(marker)]),
        lambda marker: _Call(eval, f'open({str(marker)!r}, "w")'),
        lambda marker: _Call(getattr, HistoryBuffer, '__init__'),
        lambda marker: _Call(getattr, HistoryBuffer, '__reduce__'),
        lambda marker: _Call(getattr, HistoryBuffer, 'register_statistics'),
        lambda marker: _Call(getattr, np.ndarray, 'tofile'),
        lambda marker: _Call(getattr, torch.Tensor, 'mean'),
        lambda marker: _Call(getattr, _Call(getattr, HistoryBuffer, 'mean'), '__globals__'),
    ],
    ids=[
        'system',
        'subprocess',
        'eval',
        'init',
        'reduce',
        'register',
        'numpy',
        'tensor',
        'globals',
    ],
)
def test_hostile_file_is_refused(tmp_path, attack):
    marker = tmp_path / 'marker'
    torch.save(dict(state_dict={}, meta=attack(marker)), tmp_path / 'hostile.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'hostile.pth', weights_only=True)
    assert not marker.exists()


# --- statistics of the user's own


@pytest.fixture
def user_module(monkeypatch):
    """A module with two statistics, registered; gone when ``monkeypatch`` is undone."""
    module = ModuleType('my_statistics')
    code = """
def doubled(self):
    return 2 * self.mean()


class Mine:
    def halved(self):
        return self.mean() / 2
"""
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, 'my_statistics', module)
    monkeypatch.setattr(HistoryBuffer, '_statistics_methods', {})
    HistoryBuffer.register_statistics(module.doubled)
    HistoryBuffer.register_statistics(module.Mine.halved)
    return module


@pytest.fixture
def stock_mmengine(monkeypatch):
    """Has ``HistoryBuffer`` write what MMEngine 0.10.7 writes."""

    def state(self):
        return dict(self.__dict__, statistics_methods=self._statistics_methods)

    monkeypatch.setattr(HistoryBuffer, '__getstate__', state)


LOADERS = [read_checkpoint, lambda path: CheckpointLoader.load_checkpoint(str(path), 'cpu')]


@pytest.mark.parametrize('registered', [True, False])
@pytest.mark.parametrize('load', LOADERS, ids=['read_checkpoint', 'MMEngine'])
def test_files_that_stock_mmengine_wrote_load(
    tmp_path, user_module, stock_mmengine, monkeypatch, registered, load
):
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'a.pth')
    assert b'my_statistics' in (tmp_path / 'a.pth').read_bytes()
    if not registered:
        monkeypatch.undo()
        assert 'doubled' not in HistoryBuffer._statistics_methods
    buffer = load(tmp_path / 'a.pth')['message_hub']['log_scalars']['train/loss']
    assert buffer.statistics('mean') == 2
    if registered:
        assert buffer.statistics('doubled') == 4
        assert buffer.statistics('halved') == 1
    else:
        with pytest.raises(KeyError, match='doubled has not been registered'):
            buffer.statistics('doubled')


def test_statistics_are_not_written(tmp_path, user_module):
    def local(self):  # which pickle cannot write at all
        return 0

    HistoryBuffer.register_statistics(local)
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert buffer.statistics('doubled') == 4
    assert buffer.statistics('local') == 0
    assert 'statistics_methods' not in vars(buffer)


def test_a_file_changes_no_statistic(tmp_path, stock_mmengine, monkeypatch):
    """It could make one of them another: they belong to the class."""
    monkeypatch.setattr(HistoryBuffer, '_statistics_methods', dict(mean=HistoryBuffer.max))
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'a.pth')
    monkeypatch.undo()
    buffer = read_checkpoint(tmp_path / 'a.pth')['message_hub']['log_scalars']['train/loss']
    assert buffer.statistics('mean') == 2


def _buffer_with(**state):
    buffer = HistoryBuffer([1.0], [1])
    buffer.__dict__.update(state)
    return buffer


@pytest.mark.parametrize(
    'entry',
    [
        lambda marker: subprocess.call,  # a mere mention
        lambda marker: {subprocess.call: 1},
        lambda marker: _buffer_with(mean=subprocess.call),
        lambda marker: _buffer_with(_log_history=subprocess.call),
        lambda marker: dict(statistics_methods=dict(mean=subprocess.call)),
        lambda marker: _Call(subprocess.call, ['touch', str(marker)]),
        lambda marker: _Call(_Call(getattr, subprocess.Popen, 'wait'), 1),
        lambda marker: _Call(getattr, _Call(getattr, subprocess.Popen, 'wait'), '__globals__'),
        lambda marker: _Call(eval, f'open({str(marker)!r}, "w")'),
    ],
    ids=['mention', 'key', 'method', 'values', 'dict', 'call', 'method call', 'globals', 'eval'],
)
@pytest.mark.parametrize('load', LOADERS, ids=['read_checkpoint', 'MMEngine'])
def test_a_function_anywhere_else_is_refused(tmp_path, user_module, stock_mmengine, entry, load):
    """In a file that also has statistics, so that it is read as those are.

    ``subprocess`` is written under the name that it had in Python 2, ``commands``.
    """
    marker = tmp_path / 'marker'
    checkpoint = dict(_checkpoint_like_mmengine(), meta=entry(marker))
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    with pytest.raises((UserError, pickle.UnpicklingError), match='commands|eval|HistoryBuffer'):
        load(tmp_path / 'hostile.pth')
    assert not marker.exists()
    assert not any('my_statistics' in str(item) for item in torch.serialization.get_safe_globals())


def test_addresses_are_read_like_files(tmp_path, monkeypatch):
    """Kept where PyTorch keeps its downloads, and fetched once."""
    torch.save(_checkpoint_like_mmengine(), tmp_path / 'source.pth')
    fetched = []

    def fetch(url, file, progress):
        fetched.append(url)
        shutil.copy(tmp_path / os.path.basename(url), file)

    monkeypatch.setattr('mmseg_faseg.compat.fetching.download', fetch)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint('https://host/a/source.pth', 'cpu')
        assert loaded['state_dict']['weight'].tolist() == [1, 1]
    assert fetched == ['https://host/a/source.pth']
    assert [path.name for path in (tmp_path / 'hub' / 'checkpoints').iterdir()] == ['source.pth']
    torch.save(dict(meta=subprocess.call), tmp_path / 'evil.pth')
    with pytest.raises(UserError, match='evil.pth is not loaded: it asks for commands.call'):
        CheckpointLoader.load_checkpoint('https://host/evil.pth')


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('core', ['core', '_core'])
def test_arrays_come_back_as_they_were(tmp_path, protocol, core):
    values = dict(
        matrix=np.arange(6.0).reshape(2, 3),
        turned=np.arange(6.0).reshape(2, 3).T,
        none=np.zeros((0, 3), np.float32),
        single=np.array(7),
        swapped=np.array([1, 2], '>i4'),
        flags=np.array([True, False]),
        waves=np.array([1 + 2j]),
        scalar=np.float32(2.5),
    )
    data = pickle.dumps(dict(model=values), protocol)
    if protocol < 4:  # the name's length is not written down
        data = re.sub(rb'numpy\._?core', f'numpy.{core}'.encode(), data)
    loaded = check_plain(Unpickler(io.BytesIO(data), plain_names()).load(), len(data))['model']
    torch.save(dict(model=values), tmp_path / 'a.pth')
    once = torch.load(tmp_path / 'a.pth', weights_only=True)
    torch.save(once, tmp_path / 'b.pth')
    for found in (loaded, read_checkpoint(tmp_path / 'b.pth')['model']):
        for name, value in values.items():
            assert type(found[name]) is type(value), name
            # in the machine's order of bytes, as NumPy's own
            dtypes = [array.dtype.newbyteorder('=') for array in (found[name], value)]
            assert dtypes[0] == dtypes[1]
            assert found[name].shape == value.shape
            assert (found[name] == value).all()
    assert once['model']['matrix'].tolist() == values['matrix'].tolist()


def test_a_file_of_the_old_format_is_refused(tmp_path):
    torch.save(
        dict(meta=subprocess.call), tmp_path / 'old.pth', _use_new_zipfile_serialization=False
    )
    with pytest.raises(UserError, match='asks for commands.call'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'old.pth'))


def test_code_in_a_file_of_a_store_does_not_run(tmp_path):
    """Of a store that MMEngine reads itself; the fork would unpickle what protection refuses."""
    made = tmp_path / 'made'
    (tmp_path / 'model.pth').write_bytes(hostile.saved(hostile.Call(os.mkdir, str(made))))
    with pytest.raises(pickle.UnpicklingError, match='mkdir'):
        load_from_ceph(str(tmp_path / 'model.pth'), backend='local')
    assert not made.exists()
