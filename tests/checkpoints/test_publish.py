"""What is published: the weights that tests use and the meta, whole, under the hash of the file."""

import hashlib
import json
import shutil
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader
from mmseg.apis import init_model
from mmseg.registry import HOOKS
from safetensors import safe_open
from safetensors.torch import save_file

from mmseg_faseg import apis
from mmseg_faseg.checkpoints.publish import publish_model
from mmseg_faseg.compat.safetensors import load_from_safetensors
from tests.helpers.tools import call_tool


@HOOKS.register_module()
class KeepTestedWeights(Hook):
    """Keeps the weights with which the last test ran."""

    weights: dict = {}

    def after_test_iter(self, runner, *args, **kwargs):
        state = runner.model.state_dict()
        KeepTestedWeights.weights = {key: value.clone() for key, value in state.items()}


@pytest.fixture(scope='module')
def averaged(trained, tmp_path_factory):
    """The tiny model two iterations later, trained with an exponential moving average."""
    cfg = apis.load_config(str(trained.config))
    cfg.work_dir = str(tmp_path_factory.mktemp('averaged'))
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    cfg.load_from = str(trained.checkpoint)
    cfg.train_cfg.max_iters = 2
    apis.train(cfg)
    return SimpleNamespace(cfg=cfg, checkpoint=Path(cfg.work_dir, 'iter_2.pth'))


@pytest.fixture(scope='module')
def published(averaged, tmp_path_factory):
    folder = tmp_path_factory.mktemp('published')
    files = publish_model(averaged.checkpoint, folder / 'tiny.pth')
    assert sorted(folder.iterdir()) == sorted(files)
    return files


def load(path):
    if Path(path).suffix == '.safetensors':
        return load_from_safetensors(str(path))
    return torch.load(path, weights_only=True)


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


# --- what is kept, and what goes


def test_the_weights_are_those_that_a_test_of_the_source_uses(averaged, published, tmp_path):
    stored = load(averaged.checkpoint)
    trained_on = stored['ema_state_dict']
    moved = [
        key for key, value in stored['state_dict'].items()
        if not torch.equal(value, trained_on[f'module.{key}'])
    ]  # fmt: skip
    assert moved  # else it would not matter which of the two is taken
    averaged.cfg.work_dir = str(tmp_path)
    averaged.cfg.custom_hooks.append(dict(type='KeepTestedWeights'))
    metrics = apis.test(averaged.cfg, str(averaged.checkpoint))
    tested = dict(KeepTestedWeights.weights)
    for file in published:
        assert_same_weights(load(file)['state_dict'], tested)
        assert apis.test(averaged.cfg, str(file)) == metrics
        assert_same_weights(KeepTestedWeights.weights, tested)


def test_only_weights_and_meta_are_left(averaged, published):
    stored = load(averaged.checkpoint)
    assert {'optimizer', 'param_schedulers', 'message_hub', 'ema_state_dict'} < stored.keys()
    for file in published:
        checkpoint = load(file)
        assert checkpoint.keys() == {'meta', 'state_dict'}
        # JSON has no tuples
        assert json.dumps(checkpoint['meta']) == json.dumps(stored['meta'])
    kept = load(published[0])
    assert kept['meta'] == stored['meta']
    assert kept['state_dict']._metadata == stored['state_dict']._metadata


def test_names_carry_the_hash_of_the_file(published):
    assert [file.suffix for file in published] == ['.pth', '.safetensors']
    for file in published:
        assert file.stem == f'tiny-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}'


def test_a_broken_download_is_noticed(published, tmp_path):
    """PyTorch compares the file with its name; an address on disk stands in for one on the net."""
    options = dict(map_location='cpu', check_hash=True, progress=False, weights_only=True)
    fetch = torch.hub.load_state_dict_from_url
    whole, _ = published
    assert fetch(whole.as_uri(), str(tmp_path / 'whole'), **options).keys() == {
        'meta',
        'state_dict',
    }
    broken = tmp_path / whole.name
    broken.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match='invalid hash value'):
        fetch(broken.as_uri(), str(tmp_path / 'broken'), **options)


def test_publishing_again_gives_the_same_files(averaged, published, tmp_path):
    again = publish_model(averaged.checkpoint, tmp_path / 'tiny.pth')
    assert [file.name for file in again] == [file.name for file in published]


def test_a_hash_in_the_name_is_replaced(averaged, published, tmp_path):
    again = publish_model(averaged.checkpoint, tmp_path / 'tiny-0123abcd.pth')
    assert [file.name for file in again] == [file.name for file in published]


def test_others_may_read_the_files(averaged, tmp_path):
    ordinary = tmp_path / 'ordinary'
    ordinary.touch()
    for file in publish_model(averaged.checkpoint, tmp_path / 'tiny.pth'):
        assert file.stat().st_mode == ordinary.stat().st_mode


def test_the_tool_says_what_it_removed_and_the_sizes(averaged, tmp_path, monkeypatch, capsys):
    call_tool(
        'publish_model.py', averaged.checkpoint, 'tiny.pth', cwd=tmp_path, monkeypatch=monkeypatch
    )
    sizes = {}
    for line in capsys.readouterr().out.splitlines():
        name, size = line.rsplit(': ', 1)
        number, unit = size.split()
        sizes[name] = float(number.replace(',', '')) * {'kB': 1e3, 'MB': 1e6}[unit]
    assert [name for name in sizes if name.startswith('removed')] == [
        'removed message_hub',
        'removed optimizer',
        'removed param_schedulers',
        'removed ema_state_dict',
    ]
    (pth,), (safetensors,) = tmp_path.glob('*.pth'), tmp_path.glob('*.safetensors')
    for name, file in {
        f'in      {averaged.checkpoint}': averaged.checkpoint,
        f'out     {pth.name}': pth,
        f'out     {safetensors.name}': safetensors,
    }.items():
        assert sizes[name] == pytest.approx(file.stat().st_size, rel=0.05)
    # Adam keeps two numbers for each that is trained.
    assert sizes['removed optimizer'] == pytest.approx(2 * sizes[f'out     {pth.name}'], rel=0.25)


def test_every_tensor_has_memory_of_its_own(tmp_path):
    whole = torch.arange(10_000.0)
    weights = OrderedDict(
        part=whole[:4],
        turned=torch.arange(6.0).reshape(2, 3).t(),
        spread=torch.ones(1).expand(5),
        tied=whole[:4],
        bits=torch.tensor([True, False]),
        half=torch.ones(2, dtype=torch.bfloat16),
        count=torch.tensor(7),
        trained=torch.nn.Parameter(torch.ones(2)),
    )
    torch.save(dict(meta={}, state_dict=weights), tmp_path / 'in.pth')
    for file in publish_model(tmp_path / 'in.pth', tmp_path / 'out.pth'):
        found = load(file)['state_dict']
        assert_same_weights(found, weights)
        assert [value.dtype for value in found.values()] == [weights[key].dtype for key in found]
        assert all(value.is_contiguous() and not value.requires_grad for value in found.values())
        assert file.stat().st_size < 10_000
    storages = {value.untyped_storage().data_ptr() for value in found.values()}
    assert len(storages) == len(weights)


def test_prefix_of_data_parallel_training_goes(tmp_path):
    weights = {'module.a': torch.ones(2)}
    torch.save(dict(meta={}, state_dict=weights), tmp_path / 'in.pth')
    for file in publish_model(tmp_path / 'in.pth', tmp_path / 'out.pth'):
        assert_same_weights(load(file)['state_dict'], {'a': torch.ones(2)})


def test_meta_survives_json(tmp_path):
    meta = dict(
        iter=3,
        lr=float('inf'),
        note='größer',
        nothing=None,
        dataset_meta=dict(
            classes=('a', 'b'), palette=np.eye(2, 3, dtype=np.uint8), label_map={0: 1, 5: 255}
        ),
        best=np.float64(48.25),
    )
    torch.save(dict(meta=meta, state_dict=dict(a=torch.ones(1))), tmp_path / 'in.pth')
    pth, safetensors = publish_model(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert load(safetensors)['meta'] == {
        **meta,
        'dataset_meta': dict(
            classes=['a', 'b'], palette=[[1, 0, 0], [0, 1, 0]], label_map={0: 1, 5: 255}
        ),
    }
    kept = load(pth)['meta']
    assert kept['dataset_meta']['classes'] == ('a', 'b')
    assert kept['dataset_meta']['palette'].dtype == np.uint8


# --- safetensors in MMEngine


def test_any_reader_of_safetensors_finds_the_meta(published):
    with safe_open(published[1], 'np') as file:
        meta = json.loads(file.metadata()['meta'])
    assert meta['dataset_meta']['classes'] == ['dark', 'grey', 'bright']
    assert 'FASegHead' in meta['cfg']


def test_safetensors_give_a_model_with_its_classes(trained, published):
    models = [init_model(str(trained.config), str(file), device='cpu') for file in published]
    assert_same_weights(models[1].state_dict(), models[0].state_dict())
    assert models[1].dataset_meta['classes'] == ['dark', 'grey', 'bright']
    assert models[1].dataset_meta['palette'] == [[0] * 3, [90] * 3, [255] * 3]


def test_safetensors_to_start_training_from(averaged, published, tmp_path, monkeypatch):
    """MMEngine's ``load_from``, and the tool."""
    call_tool(
        'train.py', averaged.cfg.filename, '--work-dir', tmp_path / 'work', '--cfg-options',
        f'load_from={published[1]}', 'train_cfg.max_iters=1', 'optim_wrapper.optimizer.lr=0',
        'optim_wrapper.optimizer.weight_decay=0', cwd=tmp_path, monkeypatch=monkeypatch,
    )  # fmt: skip
    after = load(tmp_path / 'work' / 'iter_1.pth')['state_dict']
    name = 'decode_head.query_feat.weight'
    assert torch.equal(after[name], load(published[0])['state_dict'][name])


def test_safetensors_of_others_have_an_empty_meta(tmp_path):
    save_file(dict(a=torch.ones(2)), tmp_path / 'a.safetensors')
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.safetensors'))
    assert checkpoint['meta'] == {}
    assert_same_weights(checkpoint['state_dict'], dict(a=torch.ones(2)))


@pytest.mark.parametrize(
    ('name', 'loader'),
    [
        ('a.safetensors', 'load_from_safetensors'),
        ('/some where/a.safetensors', 'load_from_safetensors'),
        ('~/a.safetensors', 'load_from_safetensors'),
        ('a.pth', 'load_from_local'),
        ('https://host/a.safetensors', 'load_from_http'),
        ('s3://bucket/a.safetensors', 'load_from_ceph'),
    ],
)
def test_addresses_stay_with_mmengine(name, loader):
    assert CheckpointLoader._get_checkpoint_loader(name).__name__ == loader


@pytest.mark.parametrize('size', [0, 7, 1000, 60_000])
def test_cut_off_safetensors_are_one_line(published, tmp_path, size):
    (tmp_path / 'cut.safetensors').write_bytes(published[1].read_bytes()[:size])
    refused(tmp_path / 'cut.safetensors', tmp_path, 'not loaded: it is cut off')


def test_a_test_of_cut_off_safetensors_is_one_line(averaged, published, tmp_path):
    (tmp_path / 'cut.safetensors').write_bytes(published[1].read_bytes()[:60_000])
    averaged.cfg.work_dir = str(tmp_path / 'work')
    with pytest.raises(apis.UserError, match='cut.safetensors is not loaded: it is cut off'):
        apis.test(averaged.cfg, str(tmp_path / 'cut.safetensors'))


@pytest.mark.parametrize('what', ['weights', 'meta'])
def test_a_changed_byte_in_safetensors_is_noticed(published, tmp_path, what):
    content = published[1].read_bytes()
    at = content.index(b'dataset_meta') + 3 if what == 'meta' else len(content) - 5
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    (tmp_path / 'changed.safetensors').write_bytes(changed)
    refused(tmp_path / 'changed.safetensors', tmp_path, 'is damaged: its SHA-256')


def test_safetensors_with_foreign_metadata_are_one_line(averaged, tmp_path):
    save_file(dict(a=torch.ones(2)), tmp_path / 'a.safetensors', dict(meta='{not json'))
    with pytest.raises(apis.UserError, match='its metadata is not that of a checkpoint'):
        publish_model(tmp_path / 'a.safetensors', tmp_path / 'out.pth')


# --- bad input


class Foreign:
    """Pickles as a class that no checkpoint needs."""


def state_of(folder):
    """What writing changes; reading a file may change when it was last read."""
    states = {path: path.stat() for path in folder.rglob('*')}
    return {path: (x.st_ino, x.st_size, x.st_mtime_ns) for path, x in states.items()}


def refused(source, folder, message, target='out.pth'):
    """Publishing fails in one line and leaves a folder as it was."""
    before = state_of(folder)
    with pytest.raises(apis.UserError, match=message) as caught:
        publish_model(source, folder / target)
    assert '\n' not in str(caught.value)
    assert state_of(folder) == before


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2], r'in.pth is no checkpoint: it holds a list'),
        ({}, r'in.pth has no weights in state_dict; its entries are: none'),
        (dict(model=dict(a=torch.ones(1)), trainer={}), r'its entries are: model, trainer'),
        (dict(state_dict={}), r'no weights in state_dict'),
        (dict(state_dict=torch.ones(2)), r'no weights in state_dict'),
        (dict(state_dict={0: torch.ones(1)}), r'no weights in state_dict'),
        (dict(state_dict=dict(a=torch.ones(1), b=2.5)), r'in.pth: b is a float, not a tensor'),
        (
            dict(state_dict=dict(a=torch.eye(2).to_sparse())),
            r'in.pth .* asks for torch.serialization._get_layout',
        ),
        (
            dict(state_dict=dict(a=torch.ones(1), b=torch.ones(1, dtype=torch.complex128))),
            r'in.pth: b is of torch.complex128, which safetensors does not hold',
        ),
        (dict(state_dict=dict(a=torch.ones(1)), meta='text'), r'its meta is a str, not a dict'),
        (
            dict(state_dict=dict(a=torch.ones(1)), meta=dict(x=[0, dict(y=torch.ones(1))])),
            r'in.pth: meta.x\[1\].y is a Tensor, which has no form in JSON',
        ),
        (
            dict(state_dict=dict(a=torch.ones(1)), meta=Foreign()),
            r'asks for tests.checkpoints.test_publish.Foreign',
        ),
    ],
)
def test_bad_checkpoint_is_one_line_and_nothing_is_written(tmp_path, content, message):
    torch.save(content, tmp_path / 'in.pth')
    refused(tmp_path / 'in.pth', tmp_path, message)


@pytest.mark.parametrize('size', [0, 10, 1000, 100_000])
def test_cut_off_checkpoint(averaged, tmp_path, size):
    (tmp_path / 'in.pth').write_bytes(averaged.checkpoint.read_bytes()[:size])
    refused(tmp_path / 'in.pth', tmp_path, 'in.pth is not loaded: it is .*cut off')


@pytest.mark.parametrize('content', [b'<html>not found</html>', bytes(range(256)) * 4])
def test_file_of_another_kind(tmp_path, content):
    (tmp_path / 'in.pth').write_bytes(content)
    refused(tmp_path / 'in.pth', tmp_path, 'in.pth is not loaded: it is .*no checkpoint')


def test_missing_file(tmp_path):
    refused(tmp_path / 'nosuch.pth', tmp_path, 'there is no checkpoint .*nosuch.pth')
    refused(tmp_path, tmp_path, 'there is no checkpoint')


@pytest.mark.parametrize('which', [0, 1])
def test_published_file_is_not_published_again(published, tmp_path, which):
    shutil.copy(published[which], tmp_path)
    refused(tmp_path / published[which].name, tmp_path, 'is published already')


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        ('out.safetensors', 'must end in .pth'),
        ('nosuch/out.pth', 'there is no folder'),
        ('folder.pth', 'is a folder'),
    ],
)
def test_bad_target(averaged, tmp_path, target, message):
    (tmp_path / 'folder.pth').mkdir()
    refused(averaged.checkpoint, tmp_path, message, target)


def test_full_disk_leaves_what_was_there(averaged, published, tmp_path, monkeypatch):
    for file in published:
        shutil.copy(file, tmp_path)

    def no_space(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmseg_faseg.checkpoints.publish.save_safetensors', no_space)
    refused(averaged.checkpoint, tmp_path, 'cannot be written: .*No space left', 'tiny.pth')


def test_expected_error_of_the_tool_is_one_line(tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit) as caught:
        call_tool('publish_model.py', 'no.pth', 'a.pth', cwd=tmp_path, monkeypatch=monkeypatch)
    assert caught.value.code == 2
    assert capfd.readouterr().err == 'error: there is no checkpoint no.pth\n'
    assert list(tmp_path.iterdir()) == []
