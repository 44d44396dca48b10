"""Misspelled names and values out of range are named in a config before anything is built."""

from pathlib import Path

import mmdet
import mmseg
import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DATASETS, HOOKS

from mmseg_faseg import apis
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.engine import ReadableRunner, check_config
from mmseg_faseg.engine.checks import config
from mmseg_faseg.engine.checks.signatures import arguments_of
from tests.helpers.configs import load
from tests.helpers.tools import REPOSITORY, call_tool

OURS = sorted((REPOSITORY / 'configs').glob('*.py'))
OURS += sorted((REPOSITORY / 'configs' / 'ablation').glob('*.py'))


@pytest.fixture
def toy() -> Config:
    return load('faseg_toy')


def set_option(cfg: Config, option: str) -> None:
    """As the config's author may have, unseen by what reads ``--cfg-options``."""
    cfg.merge_from_dict(apis.parse_options([option]))


MISSPELLED = {
    'config_keys': {
        'defualt_hooks=3': "defualt_hooks: nothing reads it, did you mean 'default_hooks'",
    },
    'types': {
        'train_dataloader.dataset.type=BaseSegDatset': 'train_dataloader.dataset.type: no data set '
        "is called 'BaseSegDatset', did you mean 'BaseSegDataset'",
        'train_dataloader.dataset.pipeline.2.type=RandomFlp': "did you mean 'RandomFlip'",
        'train_dataloader.sampler.type=Infinit': "sampler.type: .*did you mean 'InfiniteSampler'",
        'train_dataloader.collate_fn.type=pseudo_colate': "did you mean 'pseudo_collate'",
        'train_cfg.type=IterBasedTrainLop': "train_cfg.type: no loop .* 'IterBasedTrainLoop'",
        'optim_wrapper.type=OptimWraper': "did you mean 'OptimWrapper'",
        'optim_wrapper.optimizer.type=AdamV': "optimizer.type: no optimizer is called 'AdamV', did",
        'optim_wrapper.constructor=FASegOptimWraperConstructor': 'optim_wrapper.constructor: no .*'
        "did you mean 'FASegOptimWrapperConstructor'",
        'param_scheduler.0.type=PolyLr': r"param_scheduler\.0\.type: .*did you mean 'PolyLR'",
        'default_hooks.timer.type=IterTimer': "did you mean 'IterTimerHook'",
        'custom_hooks.0.type=RunStartHok': r"custom_hooks\.0\.type: .*did you mean 'RunStartHook'",
        'val_evaluator.type=IoUMetrik': "no metric is called 'IoUMetrik', did you mean 'IoUMetric'",
        'visualizer.vis_backends.0.type=LocalVisBacken': "did you mean 'LocalVisBackend'",
        'log_processor.type=LossKindLogProcessor': "did you mean 'LossKindsLogProcessor'",
        'runner_type=ReadableRuner': "runner_type: .*did you mean 'ReadableRunner'",
        'model.type=FASegSegmentr': "model.type: .*did you mean 'FASegSegmentor'",
        'model.backbone.type=ResNett': "model.backbone.type: .*did you mean 'ResNet'",
        'model.backbone.type=mmpretrian.ConvNeXt': "did you mean 'mmpretrain.ConvNeXt'",
        'model.decode_head.loss_cls.type=CrosEntropyLoss': "did you mean 'CrossEntropyLoss'",
        'tta_model.type=FASegTTAModl': "did you mean 'FASegTTAModel'",
        'val_dataloader.dataset.type=CocoDataset': "did you mean 'mmdet.CocoDataset'",
        'val_dataloader.dataset.type=nosuch.Photos': "'nosuch.Photos'; is nosuch installed",
        'val_dataloader.dataset.type=3': 'type is the name of a data set or a class, got 3',
    },
    'arguments': {
        'train_cfg.max_iter=3': "train_cfg: IterBasedTrainLoop takes no 'max_iter', did you mean "
        "'max_iters'",
        'train_cfg.nonsense=3': "takes no 'nonsense'; it takes .*max_iters, val_begin",
        'train_dataloader.num_worker=2': "DataLoader takes no 'num_worker', did you .*num_workers",
        'train_dataloader.dataset.splt=val': "ToyScenesDataset takes no 'splt', did .* 'split'",
        'train_dataloader.dataset.pipeline.2.prop=1.0': "RandomFlip takes no 'prop'.* 'prob'",
        'optim_wrapper.optimizer.weight_decy=1': "AdamW takes no 'weight_decy'.* 'weight_decay'",
        'optim_wrapper.clip_gard.max_norm=1': "OptimWrapper takes no 'clip_gard'.* 'clip_grad'",
        'default_hooks.checkpoint.intervall=5': "CheckpointHook takes no 'intervall'.*'interval'",
        'param_scheduler.0.end_facto=3': "LinearLR takes no 'end_facto', did you mean 'end_factor'",
        'val_evaluator.iou_metric=mIoU': "IoUMetric takes no 'iou_metric'.* 'iou_metrics'",
        'log_processor.per_predictio=True': "takes no 'per_predictio'.* 'per_prediction'",
        'model.decode_head.num_clases=3': "FASegHead takes no 'num_clases'.* 'num_classes'",
        'model.backbone.depht=3': "model.backbone: ResNet takes no 'depht', did you mean 'depth'",
    },
    'numbers': {
        'train_dataloader.batch_size=-1': 'batch_size takes a whole number of 1 or more, got -1',
        'train_dataloader.batch_size=two': "takes a whole number of 1 or more, got 'two'",
        'train_dataloader.batch_size=True': 'takes a whole number of 1 or more, got True',
        'train_dataloader.num_workers=-2': 'num_workers takes a whole number of 0 or more, got -2',
        'train_cfg.max_iters=0': 'train_cfg.max_iters takes a whole number of 1 or more, got 0',
        'train_cfg.val_interval=0': 'val_interval takes a whole number of 1 or more, got 0',
        'train_cfg.val_interval=1.5': 'val_interval takes a whole number of 1 or more, got 1.5',
        'optim_wrapper.optimizer.lr=-1': 'optimizer.lr takes a number of 0 or more, got -1',
        'default_hooks.checkpoint.interval=0': 'of 1 or more, or -1 for never, got 0',
        'randomness.seed=abc': "randomness.seed takes a whole number of 0 or more, got 'abc'",
    },
    'values': {
        'train_dataloader.dataset.pipeline.2.prob=many': r'pipeline\.2: RandomFlip\(prob=.many.\) '
        'cannot be built: probs must be float',
        'train_dataloader.dataset.pipeline.2.prob=2.0': 'cannot be built: assert 0 <= prob <= 1',
        'optim_wrapper.optimizer.betas=(2,3)': 'cannot be built: Invalid beta parameter',
        'param_scheduler.0.end=-5': 'LinearLR.* cannot be built: end should be larger than begin',
        'log_level=LOUD': "log_level takes DEBUG, INFO, WARNING or ERROR, got 'LOUD'",
    },
}


@pytest.mark.parametrize(
    ('check', 'option'), [(check, option) for check in MISSPELLED for option in MISSPELLED[check]]
)
def test_named_with_what_would_be_right(toy, check, option):
    set_option(toy, option)
    with pytest.raises(apis.UserError, match=MISSPELLED[check][option]) as error:
        check_config(toy)
    assert '\n' not in str(error.value)
    toy.skip_checks = [check]
    check_config(toy)


def test_every_check_is_tried():
    assert list(MISSPELLED) == [check.__name__ for check in config.REFUSED]


def test_an_argument_that_is_missing(toy):
    del toy.train_cfg.max_iters
    with pytest.raises(apis.UserError, match='^train_cfg: IterBasedTrainLoop needs max_iters$'):
        check_config(toy)


def test_several_mistakes_are_named_at_once(toy):
    toy.train_cfg.max_iter = 3
    toy.train_dataloader.batch_size = 0
    with pytest.raises(apis.UserError, match='max_iters.*\n.*batch_size takes'):
        check_config(toy)


@pytest.mark.parametrize('path', OURS, ids=lambda path: path.stem)
def test_our_configs_pass(path):
    check_config(load(str(path.relative_to(REPOSITORY / 'configs').with_suffix(''))))


# Mistakes of theirs, which nothing else finds.
_THEIRS = {'bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024': "did you mean 'model'"}


def stock(package) -> list:
    folder = Path(package.__file__).parent / '.mim' / 'configs'
    files = [file for file in sorted(folder.rglob('*.py')) if '_base_' not in file.parts]
    marks = [() if place % 60 == 7 else pytest.mark.nightly for place in range(len(files))]
    return [
        pytest.param(file, id=f'{package.__name__}-{file.stem}', marks=mark)
        for place, (file, mark) in enumerate(zip(files, marks, strict=True))
        if place % 10 == 7 or file.stem in _THEIRS
    ]


@pytest.mark.parametrize('file', [*stock(mmseg), *stock(mmdet)])
def test_configs_of_openmmlab_pass(file):
    try:
        cfg = Config.fromfile(file)
    except OSError as error:
        pytest.skip(f'not whole as it is installed: {error}')
    if 'default_scope' not in cfg:
        pytest.skip('no config of a run')
    if file.stem in _THEIRS:
        with pytest.raises(apis.UserError, match=_THEIRS[file.stem]):
            check_config(cfg)
    else:
        check_config(cfg)


def test_entries_that_a_part_of_a_model_takes_out_itself(toy):
    """DETR's head reads this one, and builds the loss without it."""
    toy.model.decode_head.loss_cls.bg_cls_weight = 0.1
    check_config(toy)


def test_a_class_in_the_place_of_its_name(toy):
    toy.custom_hooks[0] = dict(type=CheckpointHook, intervall=1)
    with pytest.raises(apis.UserError, match="takes no 'intervall'"):
        check_config(toy)


@HOOKS.register_module()
class AnythingHook(Hook):
    """Takes what it is given."""

    def __init__(self, interval: int = 1, **settings) -> None:
        self.settings = {**settings, 'interval': interval}


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='AnythingHook', every=3, intervals_of_something=1, priority='LOW'),
        dict(type='mmengine.hooks.EMAHook'),
    ],
)
def test_what_may_be_right_is_left_alone(toy, hook):
    toy.custom_hooks.append(hook)
    check_config(toy)


def test_arguments_are_those_of_the_class_above_where_they_are_passed_on():
    class Above:
        def __init__(self, given, wanted, other=1):
            pass

    class PassesOn(Above):
        def __init__(self, own=1, **kwargs):
            super().__init__(given=1, **kwargs)

    class KeepsSome(Above):
        def __init__(self, own=1, **kwargs):
            self.own = kwargs.pop('secret', own)
            super().__init__(**kwargs)

    passes, keeps = arguments_of(PassesOn), arguments_of(KeepsSome)
    assert passes.names == keeps.names == {'own', 'given', 'wanted', 'other'}
    assert (passes.more, keeps.more) == (False, True)
    assert passes.required == keeps.required == frozenset()  # `given` is there, and who knows


def test_needs_no_value_that_the_class_below_gives():
    class Above:
        def __init__(self, wanted):
            pass

    class Below(Above):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

    assert arguments_of(Below).required == {'wanted'}


@pytest.mark.parametrize('start', [apis.train, ReadableRunner.from_cfg])
def test_before_anything_is_written(toy, start, tmp_path):
    """With our tools whatever the runner, and with MMSegmentation's, which build ours."""
    toy.train_cfg.max_iter = 3
    toy.work_dir = str(tmp_path / 'work')
    toy.runner_type = 'Runner' if start is apis.train else 'ReadableRunner'
    with pytest.raises(apis.UserError, match="did you mean 'max_iters'"):
        start(toy)
    assert list(tmp_path.iterdir()) == []


def test_before_a_model_is_built(toy):
    set_option(toy, 'model.backbone.depht=18')
    with pytest.raises(apis.UserError, match="ResNet takes no 'depht', did you mean 'depth'"):
        build_model(toy)


def test_the_tool_ends_in_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call_tool(
            'train.py', 'mmseg_faseg::faseg_toy.py', '--work-dir', tmp_path / 'work',
            '--cfg-options', 'train_dataloader.batch_size=-1', monkeypatch=monkeypatch,
            cwd=tmp_path,
        )  # fmt: skip
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        'error: train_dataloader.batch_size takes a whole number of 1 or more, got -1\n'
    )


@pytest.mark.parametrize(
    ('option', 'instead'),
    [
        ('train_pipeline.2.prob=0.1', r'train_dataloader\.dataset\.pipeline\.2\.prob'),
        ('test_pipeline.0.type=X', r'val_\S+\.pipeline\.0\.type and test_\S+\.pipeline\.0\.type'),
    ],
)
def test_an_option_for_a_list_that_was_copied(option, instead):
    with pytest.raises(apis.UserError, match=f'does not read .* but copies of it, .*{instead}'):
        apis.load_config('mmseg_faseg::faseg_toy.py', apis.parse_options([option]))


def test_an_option_for_an_entry_that_the_config_leaves_out(toy):
    """Its name is like that of ``loss_dice``, and right all the same."""
    del toy.model.decode_head.loss_cls
    apis.config.apply_options(toy, {'model.decode_head.loss_cls.type': 'CrossEntropyLoss'})
    assert toy.model.decode_head.loss_cls == dict(type='CrossEntropyLoss')


def test_data_sets_of_ones_own_are_known(toy):
    @DATASETS.register_module()
    class OwnPhotos(DATASETS.get('mmseg.BaseSegDataset')):
        def __init__(self, folder, **kwargs):
            super().__init__(data_prefix=dict(img_path=folder), **kwargs)

    try:
        toy.train_dataloader.dataset = dict(type='OwnPhotos', foldr='photos')
        with pytest.raises(apis.UserError, match="OwnPhotos takes no 'foldr', did you .*'folder'"):
            check_config(toy)
    finally:
        DATASETS.module_dict.pop('OwnPhotos')
