"""Released weights are fetched and converted once, and found by name from then on."""

import os
from io import BytesIO

import pytest
import torch

from mmseg_faseg.apis.checkpoint import find_checkpoint
from mmseg_faseg.apis.weights import fetch_weights
from mmseg_faseg.checkpoints import released
from mmseg_faseg.checkpoints.released import Released, find_released, released_models
from mmseg_faseg.errors import UserError
from tests.helpers.file_server import serving
from tests.helpers.full_size import NoRandomWeights
from tests.helpers.released import made_up, shapes_of, write_tiny

SWIN_T = 'faseg_swin-t_ade20k'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of weights."""
    monkeypatch.setenv('MMSEG_FASEG_WEIGHTS', str(tmp_path / 'weights'))
    return tmp_path / 'weights'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A small model's config, and its file as the authors would release it."""
    path = tmp_path_factory.mktemp('tiny') / 'tiny.py'
    shapes = write_tiny(path)
    content = BytesIO()
    torch.save(dict(model={key: made_up(key, shape) for key, shape in shapes.items()}), content)
    return str(path), content.getvalue()


@pytest.fixture
def server(tiny):
    with serving(tiny[1]) as served:
        yield served


@pytest.fixture
def model(tiny, server, monkeypatch):
    """The small model as if it were released, at the server."""
    monkeypatch.setattr(Released, 'config', tiny[0])
    model = Released('faseg_tiny', 'FASeg', 'CC BY-NC 4.0', server.address)
    monkeypatch.setattr(released, 'released_models', lambda: {model.name: model})
    monkeypatch.setattr('mmseg_faseg.apis.checkpoint.released_models', lambda: {model.name: model})
    return model


def test_addresses_are_those_of_the_metafile():
    models = released_models()
    release = 'https://github.com/ziplab/FASeg/releases/download/V1'
    assert models[SWIN_T].address == f'{release}/ade_faseg_swin_ti.pth'
    assert len(models) == 10
    assert {model.method for model in models.values()} == {'FASeg', 'Panoptic SegFormer'}
    assert models[SWIN_T].config == 'mmseg_faseg::faseg_swin-t_ade20k.py'


def test_the_folder_is_the_users_cache_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv('MMSEG_FASEG_WEIGHTS', raising=False)
    assert str(released.weights_folder()).startswith(os.environ['XDG_CACHE_HOME'])
    monkeypatch.setenv('MMSEG_FASEG_WEIGHTS', '~/w')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert released.weights_folder() == tmp_path / 'w'


@pytest.mark.parametrize(
    ('name', 'message'),
    [('faseg_swin_t_ade20k', f"did you mean '{SWIN_T}'"), ('x', 'there are faseg_r50_ade20k, ')],
)
def test_names_of_no_model(name, message):
    with pytest.raises(UserError, match=f"no weights of '{name}' were released: {message}"):
        find_released(name)


def test_a_name_is_a_checkpoint_once_it_is_fetched(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f'{SWIN_T} is not here yet: faseg weights {SWIN_T}'):
        find_checkpoint(SWIN_T)
    folder.mkdir()
    (folder / f'{SWIN_T}.pth').write_text('')
    assert find_checkpoint(SWIN_T) == str(folder / f'{SWIN_T}.pth')
    monkeypatch.chdir(tmp_path)
    (tmp_path / SWIN_T).write_text('a file of that name is meant itself')
    assert find_checkpoint(SWIN_T) == SWIN_T
    assert find_checkpoint('anything.pth') == 'anything.pth'


@pytest.mark.full_size
def test_fetched_once_and_converted_once(model, server, folder):
    server.cut = 50_000_000
    with pytest.raises(UserError, match=r'goes on after 50,000,000 bytes, or put the file at'):
        fetch_weights(model)
    with pytest.raises(UserError, match='faseg_tiny is not here yet'):
        find_checkpoint('faseg_tiny')
    server.cut = None
    for _ in range(2):
        assert fetch_weights(model) == folder / 'faseg_tiny.pth'
    assert server.asked[1]['Range'] == 'bytes=50000000-' and len(server.asked) == 2
    assert sorted(os.listdir(folder)) == ['faseg_tiny.pth', 'weights.pth']
    meta = torch.load(find_checkpoint('faseg_tiny'), weights_only=True)['meta']
    assert 'CC BY-NC 4.0' in meta['license']
    assert meta['converted_from']['file'] == 'weights.pth'


@pytest.mark.full_size
def test_a_file_put_there_by_hand_is_converted(model, tiny, server, folder):
    server.status = 503
    with pytest.raises(UserError, match=f'503.*: put the file at {folder}/weights.pth'):
        fetch_weights(model)
    (folder / 'weights.pth').write_bytes(tiny[1])
    assert fetch_weights(model).is_file()
    assert len(server.asked) == 1


@pytest.mark.full_size
@pytest.mark.parametrize('damage', ['cut', 'another', 'text'])
def test_a_file_that_is_not_the_models_is_named(damage, model, tiny, server, folder):
    folder.mkdir()
    file = folder / 'weights.pth'
    if damage == 'another':
        torch.save(dict(model=dict(weight=torch.zeros(1))), file)
    else:
        file.write_bytes(tiny[1][:-1000] if damage == 'cut' else b'text')
    with pytest.raises(UserError, match=f'weights.pth.*. If {file} is not what .* remove it'):
        fetch_weights(model)
    assert os.listdir(folder) == ['weights.pth'] and server.asked == []
    file.unlink()
    assert fetch_weights(model).is_file()


@pytest.mark.parametrize('place', ['under a file', 'read-only'])
def test_a_folder_that_cannot_be_written_to(place, model, server, folder, monkeypatch):
    if place == 'under a file':
        folder.write_text('')
    else:
        folder.mkdir()
        monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write everywhere
    with pytest.raises(UserError, match=r'the folder of weights \(MMSEG_FASEG_WEIGHTS\)'):
        fetch_weights(model)
    assert server.asked == []


@pytest.mark.full_size
def test_a_file_as_large_as_the_real_one(folder):
    """Swin-T's, with made-up weights, by its name; only the host is another."""
    content = BytesIO()
    shapes = shapes_of('swin-t_ade20k')
    torch.save(dict(model={key: made_up(key, shape) for key, shape in shapes.items()}), content)
    with serving(content.getvalue()) as served, NoRandomWeights():
        model = find_released(SWIN_T)._replace(address=served.address)
        fetch_weights(model)
    checkpoint = torch.load(find_checkpoint(SWIN_T), weights_only=True)
    query = 'sem_seg_head.predictor.query_feat.weight'
    ours = checkpoint['state_dict']['decode_head.query_feat.weight']
    assert torch.equal(ours, made_up(query, shapes[query]))
    assert len(checkpoint['meta']['dataset_meta']['classes']) == 150
