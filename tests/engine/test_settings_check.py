"""Settings that cannot work together are refused before anything is trained; mistakes are named."""

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner

from mmseg_faseg.engine import SettingsMismatchError
from mmseg_faseg.engine.checks import schedules, settings
from mmseg_faseg.engine.checks.names import CHECKS
from mmseg_faseg.engine.checks.pairs import Expected


def fcn(**settings) -> dict:
    base = dict(type='FCNHead', in_channels=32, in_index=3, channels=8, num_classes=3)
    return base | settings


@DATA_SAMPLERS.register_module()
class OneOfTwoSampler(DefaultSampler):
    """As in the first of two processes."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.world_size = 2


EPOCHS = {'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)}


@pytest.fixture(scope='module')
def tiny(write_config, tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp('tiny')
    cfg = Config.fromfile(write_config(folder / 'tiny.py'))
    cfg.custom_hooks = [dict(type='SettingsCheckHook')]
    cfg.model.backbone.norm_cfg.type = 'BN'
    cfg.default_hooks.pop('visualization')
    cfg.work_dir = str(folder)
    return cfg


@pytest.fixture
def start(tiny, monkeypatch):
    """Starts a run with other settings, up to what comes after the checks."""

    class StartedError(Exception):
        pass

    # What takes most of a second each time, and is not looked at here.
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    monkeypatch.setattr(Config, 'pretty_text', '')

    def run(options: dict) -> None:
        cfg = copy.deepcopy(tiny)
        for key, value in options.items():
            *path, name = key.split('.')
            node = cfg
            for part in path:
                node = node[int(part) if part.isdigit() else part]
            if value is None:
                node.pop(name)
            else:
                node[int(name) if name.isdigit() else name] = ConfigDict(x=value).x
        cfg.experiment_name = f'run{id(cfg)}'
        runner = Runner.from_cfg(cfg)
        call_hook = runner.call_hook

        def only_checks(name, **kwargs):
            call_hook(name, **kwargs)
            if name == 'before_run':
                raise StartedError

        monkeypatch.setattr(runner, 'call_hook', only_checks)
        with pytest.raises(StartedError):
            runner.train()

    return run


REFUSED = {
    'ignore_index': (
        {'model.decode_head.ignore_index': 11},
        r'decode_head.ignore_index is 11, but data_preprocessor.seg_pad_val is 255, '
        'val_evaluator.ignore_index is 255',
    ),
    'ignore_index of the metric': ({'val_evaluator.ignore_index': 0}, 'val_evaluator.ignore_index'),
    'ignore_index of another metric': (
        {'val_evaluator': [dict(type='SizeIoUMetric', ignore_index=0), dict(type='IoUMetric')]},
        r'but val_evaluator\[0\].ignore_index is 0:',
    ),
    'ignore_index of a crop': (
        {
            'train_dataloader.dataset.pipeline.2': dict(
                type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75, ignore_index=0
            )
        },
        r'RandomCrop.ignore_index \(train\) is 0',
    ),
    'ignore_index of a nested transform': (
        {
            'train_dataloader.dataset.pipeline.2': dict(
                type='RandomApply',
                prob=0.5,
                transforms=[dict(type='RandomRotate', prob=1.0, degree=5, seg_pad_val=0)],
            )
        },
        r'RandomRotate.seg_pad_val \(train\) is 0',
    ),
    'ignore_index of padding': (
        {
            'train_dataloader.dataset.pipeline.2': dict(
                type='Pad', size=(64, 64), pad_val=dict(img=0, seg=0)
            )
        },
        r'Pad.pad_val.seg \(train\) is 0',
    ),
    'ignore_index of a loss': (
        {'model.auxiliary_head': fcn(loss_decode=dict(type='DiceLoss', ignore_index=0))},
        'auxiliary_head.loss_decode.ignore_index is 0',
    ),
    'class_weight of an auxiliary head': (
        {
            'model.auxiliary_head': fcn(
                loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0])
            )
        },
        'auxiliary_head.loss_decode.class_weight has 2 values, needs 3: one for each class',
    ),
    'num_classes_of_heads': (
        {
            'model.auxiliary_head': fcn(num_classes=7),
        },
        'decode_head.num_classes=3, model.auxiliary_head.num_classes=7',
    ),
    'image_statistics': (
        {'model.data_preprocessor.mean': [0.0, 0.0], 'model.data_preprocessor.std': [1.0, 1.0]},
        'mean has 2 values, but the backbone takes 3',
    ),
    'batch_shape': ({'model.data_preprocessor.size': None}, 'needs size .* or size_divisor'),
    'endless_sampler': (EPOCHS, 'train_dataloader.sampler is InfiniteSampler.*never ends'),
    'endless_sampler in validation': (
        {'val_dataloader.sampler.type': 'InfiniteSampler'},
        'val_dataloader.sampler is InfiniteSampler',
    ),
    'uneven_sampler': (
        EPOCHS
        | {
            'train_dataloader.sampler': dict(type='OneOfTwoSampler', round_up=False),
            'train_dataloader.batch_size': 1,
        },
        'round_up=False gives some of 2 processes more batches of 1',
    ),
    'empty_loader': (
        EPOCHS
        | {
            'train_dataloader.sampler.type': 'DefaultSampler',
            'train_dataloader.batch_size': 50,
            'train_dataloader.drop_last': True,
        },
        'has no batch: 5 images',
    ),
    'monitored_metric': (
        {'default_hooks.checkpoint.save_best': 'mDice'},
        "save_best='mDice', but validation returns aAcc, mIoU, mAcc",
    ),
    'monitored_metric of several': (
        {
            'default_hooks.checkpoint.save_best': 'boundary/mDice',
            'val_evaluator': [
                dict(type='BoundaryIoUMetric'),
                dict(type='SizeIoUMetric', areas=dict(all=0)),
            ],
        },
        "save_best='boundary/mDice', but validation returns boundary/aAcc, boundary/mIoU, "
        'boundary/mAcc, all/aAcc, all/mIoU, all/mAcc',
    ),
    'monitored_metric without validation': (
        {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None},
        "save_best='mIoU', but nothing is validated",
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(start, case):
    options, message = REFUSED[case]
    with pytest.raises(SettingsMismatchError, match=message) as error:
        start(options)
    name = case.split()[0]
    assert f'skip_checks={name}' in str(error.value)
    start(options | {'skip_checks': [name]})


WARNED = {
    'schedule_unit': ({'param_scheduler.0.by_epoch': True}, 'PolyLR counts epochs'),
    'schedule_unit of checkpoints': (
        {'default_hooks.checkpoint.by_epoch': True},
        'CheckpointHook counts epochs',
    ),
    'schedule_length': ({'train_cfg.max_iters': 8}, 'PolyLR ends at 4, but training has 8'),
    'schedule_length too long': ({'train_cfg.max_iters': 2}, 'PolyLR ends at 4, but .* has 2'),
    'schedule_length of a cosine': (
        {'param_scheduler': [dict(type='CosineAnnealingLR', T_max=9, by_epoch=False)]},
        'CosineAnnealingLR ends at 9, but training has 4',
    ),
    'schedule_length of steps': (
        {'param_scheduler': [dict(type='MultiStepLR', milestones=[2, 9], by_epoch=False)]},
        'milestone 9 is not reached',
    ),
    'validation_interval': ({'train_cfg.val_interval': 9}, 'first validation would be after 9'),
    'crop_size': (
        {'train_dataloader.dataset.pipeline.2': dict(type='RandomCrop', crop_size=(48, 48))},
        r'crops of \(48, 48\) are padded to data_preprocessor.size=\(64, 64\)',
    ),
}


@pytest.mark.parametrize('case', WARNED)
def test_warned(start, case, capsys):
    options, message = WARNED[case]
    name = case.split()[0]
    start(options)
    lines = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    (line,) = [line for line in lines if f'[{name}]' in line]
    assert re.search(message, line)
    start(options | {'skip_checks': name})
    assert f'[{name}]' not in capsys.readouterr().out


SOUND = {
    'samples that differ in number, batches that do not': EPOCHS
    | {
        'param_scheduler.0.end': 2,
        'train_dataloader.sampler': dict(type='OneOfTwoSampler', round_up=False),
        'train_dataloader.batch_size': 3,
    },
    'a crop that looks at no labels': {
        'model.decode_head.ignore_index': 11,
        'model.data_preprocessor.seg_pad_val': 11,
        'val_evaluator.ignore_index': 11,
        'train_dataloader.dataset.pipeline.2': dict(type='RandomCrop', crop_size=(64, 64)),
    },
    'an auxiliary head that learns edges': {
        'model.auxiliary_head': fcn(
            type='STDCHead',
            num_classes=2,
            boundary_threshold=0.1,
            loss_decode=[dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='DiceLoss')],
        )
    },
    'one output for two classes': {
        'model.type': 'EncoderDecoder',
        'model.decode_head': fcn(
            num_classes=2,
            out_channels=1,
            threshold=0.3,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, class_weight=[2.0]),
        ),
    },
    'a cosine that ends with training': {
        'param_scheduler': [
            dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False),
            dict(type='CosineAnnealingLR', begin=2, T_max=2, by_epoch=False),
        ]
    },
}


@pytest.mark.parametrize('case', SOUND)
def test_nothing_is_said(start, case, capsys):
    start(SOUND[case])
    said = capsys.readouterr().out
    assert not [name for name in CHECKS if f'[{name}]' in said]


def test_a_model_that_decides_on_no_classes():
    """Heads of MMSegmentation's depth estimators have no label to ignore."""
    head = torch.nn.Module()
    head.num_classes = 1
    model = SimpleNamespace(decode_head=head)
    runner = SimpleNamespace(model=model, _train_loop=None, _val_loop=None, _test_loop=None)
    assert Expected.by(model) is None
    assert not [
        text for check in (settings.ignore_index, settings.class_weight) for text in check(runner)
    ]


def test_a_warm_up_may_end_early(start, capsys):
    start(
        {
            'param_scheduler': [
                dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False),
                dict(type='PolyLR', power=0.9, begin=2, end=4, by_epoch=False),
            ]
        }
    )
    assert '[schedule' not in capsys.readouterr().out


def test_misspelled_name_of_a_check(start):
    with pytest.raises(
        ValueError, match="no check is called 'crop_sise', did you mean 'crop_size'"
    ):
        start({'skip_checks': ['crop_sise']})


@pytest.mark.parametrize('stuff', [3, 0])
def test_classes_of_mask2formers_fusion_head(stuff):
    head = SimpleNamespace(num_things_classes=5, num_stuff_classes=3, num_classes=8)
    fusion = SimpleNamespace(num_things_classes=5, num_stuff_classes=stuff)
    model = SimpleNamespace(panoptic_head=head, panoptic_fusion_head=fusion)
    found = list(settings.fusion_head(SimpleNamespace(model=model)))
    wrong = 'model.panoptic_fusion_head.num_stuff_classes is 0, but that of panoptic_head is 3'
    assert found == ([] if stuff else [wrong])


def test_class_weights_of_mask2former_head():
    """MMSegmentation's head fails at the first iteration; ours refuses when it is built."""
    loss = SimpleNamespace(class_weight=[1.0] * 3)
    head = SimpleNamespace(num_classes=3, loss_mask=None, loss_cls=loss)
    runner = SimpleNamespace(model=SimpleNamespace(decode_head=head))
    (text,) = settings.class_weight(runner)
    assert 'loss_cls.class_weight has 3 values, needs num_classes + 1 = 4' in text
    detector = SimpleNamespace(panoptic_head=runner.model.decode_head)  # of MMDetection
    (text,) = settings.class_weight(SimpleNamespace(model=detector))
    assert 'model.panoptic_head.loss_cls.class_weight has 3 values' in text
    loss.class_weight.append(0.1)
    assert not list(settings.class_weight(runner))


def test_windows_of_encoder_decoder():
    test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(80, 64))
    runner = SimpleNamespace(model=SimpleNamespace(test_cfg=test_cfg))
    (text,) = settings.windows(runner)
    assert 'model.test_cfg.stride (80, 64) is larger than' in text


def test_every_check_is_tried():
    tried = {case.split()[0] for case in (REFUSED | WARNED)}
    tried |= {'windows', 'class_weight', 'fusion_head'}
    checks = [check for part in (settings, schedules) for check in (*part.REFUSED, *part.WARNED)]
    assert tried == {check.__name__ for check in checks}
