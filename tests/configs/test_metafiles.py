"""What programs and people read about the models: metafile, index, model zoo and README agree."""

import re
from itertools import takewhile
from pathlib import Path

import pytest
import yaml

from mmseg_faseg.apis.complexity import complexity_of, input_size_of
from mmseg_faseg.apis.model import build_model
from tests.helpers.configs import load
from tests.helpers.full_size import NoRandomWeights, outline
from tests.helpers.optional import NO_TIMM
from tests.helpers.tools import REPOSITORY

MIM = REPOSITORY / 'mmseg_faseg' / '.mim'
PAPER = [  # METHOD: what the authors report, single and multi scale
    ('faseg_r50_ade20k', 48.3, 49.3, 'ade_faseg_r50.pth'),
    ('faseg_swin-t_ade20k', 49.6, 51.3, 'ade_faseg_swin_ti.pth'),
    ('faseg_swin-b_ade20k', 55.0, 56.0, 'ade_faseg_swin_b.pth'),
    ('faseg_swin-l_ade20k', 56.3, 57.7, 'ade_faseg_swin_l.pth'),
    ('faseg_r50_cityscapes', 80.5, None, 'cityscapes_faseg_r50.pth'),
]
NAMES = [row[0] for row in PAPER]
SEGFORMERS = [  # METHOD: reported PQ, 1x is 12 epochs
    ('r50_coco-panoptic_12e', 48.0, 'panoptic_segformer_r50_1x.pth'),
    ('r50_coco-panoptic', 49.6, 'panoptic_segformer_r50_2x.pth'),
    ('r101_coco-panoptic', 50.6, 'panoptic_segformer_r101_2x.pth'),
    ('pvtv2-b5_coco-panoptic', 55.6, 'panoptic_segformer_pvtv2b5_2x.pth'),
    ('swin-l_coco-panoptic', 55.8, 'panoptic_segformer_swinl_2x.pth'),
]
# By depth (ResNet) or width (Swin): MMSegmentation's name, and the one in our tables.
BACKBONES = {
    50: ('R-50-D32', 'ResNet-50'),
    (96, 6): ('Swin-T', 'Swin-T'),
    (128, 18): ('Swin-B', 'Swin-B'),
    (192, 18): ('Swin-L', 'Swin-L'),
}
DATA = {'ADE20KDataset': 'ADE20K', 'CityscapesDataset': 'Cityscapes'}


def read(path):
    return yaml.safe_load(path.read_text())


def imported(index):
    """All that an index lists, found as mim does: relative to the index's own folder."""
    files = [read(index.parent / name) for name in read(index)['Import']]
    return {
        key: [entry for file in files for entry in file.get(key, [])]
        for key in ('Collections', 'Models')
    }


@pytest.fixture(scope='module')
def metafile():
    return imported(REPOSITORY / 'model-index.yml')


@pytest.fixture(scope='module')
def models(metafile):
    return {model['Name']: model for model in metafile['Models']}


def config_of(model):
    return load(model['Config'].removeprefix('configs/').removesuffix('.py'))


def backbone_of(cfg):
    backbone = cfg.model.backbone
    if backbone.type == 'ResNet':
        return BACKBONES[backbone.depth]
    return BACKBONES[backbone.embed_dims, backbone.depths[2]]


def table(path, first):
    """The rows of the Markdown table whose first column has a name, as dicts by column."""
    lines = (REPOSITORY / path).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f'| {first} |'))
    columns, _, *rows = (
        [cell.strip().strip('`') for cell in line.strip('|').split('|')]
        for line in takewhile(lambda line: line.startswith('|'), lines[start:])
    )
    return {row[0].removesuffix('.py'): dict(zip(columns, row, strict=True)) for row in rows}


# --- the files


def test_the_package_carries_the_same_index(metafile):
    assert imported(MIM / 'model-index.yml') == metafile
    for model in metafile['Models']:
        assert (MIM / model['Config']).is_file()


def test_the_collection_says_whose_it_is(metafile):
    collection, segformer = metafile['Collections']
    assert collection['Name'] == 'FASeg'
    assert 'CC BY-NC 4.0' in collection['License']
    assert 'CC BY-NC 4.0' in collection['Metadata']['License']
    assert 'reported by the authors' in collection['Metadata']['Results']
    assert set(collection['Metadata']['Training Data']) == set(DATA.values())
    assert collection['Paper']['URL'] == 'https://arxiv.org/abs/2204.01244'
    assert (REPOSITORY / collection['README']).is_file()
    assert collection['Frameworks'] == ['PyTorch']
    assert segformer['Name'] == 'Panoptic SegFormer'
    assert 'reported by the authors' in segformer['Metadata']['Results']
    assert (REPOSITORY / segformer['README']).is_file()


def test_every_config_of_the_paper_is_listed(models):
    assert list(models) == NAMES + [f'panoptic-segformer_{name}' for name, *_ in SEGFORMERS]
    on_disk = {path.stem for path in (REPOSITORY / 'configs').glob('faseg_*_ade20k.py')}
    on_disk |= {path.stem for path in (REPOSITORY / 'configs').glob('faseg_*_cityscapes.py')}
    assert on_disk - set(NAMES) == set(table('docs/model_zoo.md', 'not in the paper'))


@pytest.mark.parametrize(('name', 'single', 'multi', 'file'), PAPER)
def test_model(models, name, single, multi, file):
    model = models[name]
    assert model['In Collection'] == 'FASeg'
    assert model['Config'] == f'configs/{name}.py'
    assert Path(REPOSITORY, model['Code']).is_file()
    assert model['Framework'] == 'PyTorch'
    results = model['Results']
    assert results['Task'] == 'Semantic Segmentation'
    assert results['Metrics'] == {'mIoU': single} | ({'mIoU(ms+flip)': multi} if multi else {})
    assert results['Source'] == 'as reported by the authors'
    # No address that nobody has tried, and none of a file that MMEngine does not load.
    assert 'Weights' not in model
    assert model['Converted From'] == {
        'Code': 'https://github.com/ziplab/FASeg',
        'Release': 'V1',
        'File': file,
        'License': 'CC BY-NC 4.0',
    }


@pytest.mark.parametrize('name', NAMES)
def test_metadata_is_the_configs(models, name):
    cfg, metadata = config_of(models[name]), models[name]['Metadata']
    data = DATA[cfg.train_dataloader.dataset.type]
    assert metadata['Training Data'] == models[name]['Results']['Dataset'] == data
    assert metadata['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    assert metadata['Architecture'] == [backbone_of(cfg)[0], 'FASeg']


@pytest.mark.parametrize('name', NAMES)
def test_the_config_builds_a_model(models, name):
    model = outline(config_of(models[name]))
    assert type(model).__name__ == 'FASegSegmentor'
    assert type(model.decode_head).__name__ == 'FASegHead'
    assert (
        model.num_classes
        == {'ADE20K': 150, 'Cityscapes': 19}[models[name]['Metadata']['Training Data']]
    )


@pytest.mark.full_size
@pytest.mark.parametrize(('name', 'quality', 'file'), SEGFORMERS)
def test_panoptic_segformer(models, name, quality, file):
    name = f'panoptic-segformer_{name}'
    model, cfg = models[name], load(name)
    assert model['In Collection'] == 'Panoptic SegFormer'
    assert model['Results']['Metrics'] == {'PQ': quality}
    assert model['Results']['Source'] == 'as reported by the authors'
    assert model['Converted From']['File'] == file
    assert 'Weights' not in model
    assert model['Metadata']['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    row = table('docs/detection.md', 'Panoptic SegFormer')[name]
    assert row["authors' file"] == file
    assert row['PQ, as reported'] == f'{quality:.1f}'
    assert int(row['epochs of COCO']) == round(cfg.train_cfg.max_iters * 8 / 118_287)
    cfg.model.backbone.init_cfg = None
    with NoRandomWeights():
        trainable = [p.numel() for p in build_model(cfg).parameters() if p.requires_grad]
    assert row['parameters'] == f'{sum(trainable) / 1e6:.1f} M'


# --- the pages


def test_the_model_zoo_lists_the_same_models():
    assert list(table('docs/model_zoo.md', 'config')) == NAMES


@pytest.mark.parametrize(('name', 'single', 'multi', 'file'), PAPER)
def test_model_zoo(models, name, single, multi, file):
    row, cfg = table('docs/model_zoo.md', 'config')[name], config_of(models[name])
    assert row['data'] == DATA[cfg.train_dataloader.dataset.type]
    assert row['backbone'] == backbone_of(cfg)[1]
    assert row['crop'] == '{} x {}'.format(*cfg.crop_size)
    assert row['schedule'] == f'{cfg.train_cfg.max_iters // 1000}k'
    assert row['mIoU'] == f'{single:.1f}'
    assert row['mIoU, multi-scale and flip'] == (f'{multi:.1f}' if multi else 'not reported')
    assert row["authors' file"] == file


@pytest.mark.full_size
@pytest.mark.parametrize('name', table('docs/model_zoo.md', 'not in the paper'))
def test_model_zoo_of_other_backbones(name):
    cfg, row = load(name), table('docs/model_zoo.md', 'not in the paper')[name]
    if cfg.model.backbone.type == 'TimmFeatures':
        pytest.importorskip('timm', reason=NO_TIMM)
    with NoRandomWeights():
        found = complexity_of(cfg, input_size_of(cfg))
    assert row['parameters'] == f'{found.trainable_params / 1e6:.2f} M'
    assert row['FLOPs (512 x 512)'] == f'{found.flops / 1e9:.1f} G'
    assert row['weights'] in cfg.model.backbone.init_cfg.checkpoint


@pytest.mark.parametrize(('name', 'single', 'multi', 'file'), PAPER)
def test_readme(name, single, multi, file):
    row = table('README.md', 'config')[name]
    (reported,) = [cell for column, cell in row.items() if 'reported by the authors' in column]
    assert reported == (f'{single:.1f} ({multi:.1f})' if multi else f'{single:.1f}')


@pytest.mark.parametrize(('name', 'single', 'multi', 'file'), PAPER)
def test_every_conversion_is_spelled_out(name, single, multi, file):
    page = (REPOSITORY / 'docs' / 'model_zoo.md').read_text()
    assert f'python tools/convert_weights.py {file} checkpoints/{name}.pth\n' in page


def test_commands_and_links_of_the_page_exist():
    page = (REPOSITORY / 'docs' / 'model_zoo.md').read_text()
    named = set(re.findall(r'(?:tools|configs|mmseg_faseg)/[\w./-]+\.(?:py|yaml)', page))
    assert {'tools/convert_weights.py', 'tools/test.py', 'tools/publish_model.py'} < named
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []
