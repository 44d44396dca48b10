"""What is not finite in training is found before weights learn from it, and named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import TRANSFORMS

from mmseg_faseg import apis
from mmseg_faseg.apis.model import build_model
from mmseg_faseg.engine import NonFiniteError, NonFiniteHook, replay


@TRANSFORMS.register_module()
class SpoilImage(BaseTransform):
    """Puts NaN into one image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def transform(self, results: dict) -> dict:
        results['img'] = results['img'].astype(np.float32)
        if Path(results['img_path']).name == self.name:
            results['img'][3, 4] = np.nan
        return results


class Spoil(Hook):
    """Calls a function of the runner before some iterations, counted from 1."""

    def __init__(self, spoil, iterations=(3,)) -> None:
        self.spoil = spoil
        self.iterations = iterations

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if batch_idx + 1 in self.iterations:
            self.spoil(runner)


@pytest.fixture
def runner_of(write_config, tmp_path, request):
    """A run of the tiny model; keyword arguments are the hook's."""

    def build(*hooks, image=None, changes=None, **kwargs) -> Runner:
        cfg = apis.load_config(str(write_config(tmp_path / 'tiny.py')))
        cfg.custom_hooks = [dict(type='NonFiniteHook', **kwargs)]
        cfg.work_dir = str(tmp_path / 'work')
        cfg.visualizer.name = cfg.experiment_name = request.node.name
        cfg.model.backbone.norm_cfg.type = 'BN'
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        cfg.default_hooks.checkpoint.save_best = None
        if image is not None:
            pipeline = cfg.train_dataloader.dataset.pipeline
            pipeline.insert(-1, dict(type='SpoilImage', name=image))
        cfg.merge_from_dict(changes or {})
        runner = Runner.from_cfg(cfg)
        for hook in hooks:
            runner.register_hook(hook)
        return runner

    return build


def weights_of(runner: Runner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def inf_gradient(runner: Runner) -> None:
    """The next backward pass gives one gradient that is infinite, once."""
    weight = runner.model.decode_head.query_feat.weight
    handle = weight.register_hook(lambda grad: (handle.remove(), grad * torch.inf)[1])


def nan_weight(runner: Runner) -> None:
    runner.model.decode_head.query_feat.weight.data[0, 0] = torch.nan


def nan_loss(runner: Runner) -> None:
    """The next class loss is NaN, once."""
    loss = runner.model.decode_head.loss_cls
    forward = loss.forward

    def once(*args, **kwargs):
        loss.forward = forward
        return forward(*args, **kwargs) * torch.nan

    loss.forward = once


def test_an_image_that_is_not_finite_is_named(runner_of):
    """Batch norm spreads it to all images of the batch."""
    runner = runner_of(image='3.png', changes={'train_cfg.max_iters': 10})
    message = r'iteration \d+: \S+/images/3.png: 3 of 12288 values of the image are not finite; the'
    with pytest.raises(NonFiniteError, match=message) as error:
        runner.train()
    assert len(str(error.value).splitlines()) == 1
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (inf_gradient, r'gradients are not finite: 1 of \d+ tensors, first decode_head.query_feat'),
        (nan_weight, 'the weights were not finite before it: 1 of .*first decode_head.query_feat'),
        (nan_loss, r'decode.d0.loss_cls: not finite, in a batch of \S+.png, \S+.png'),
    ],
)
def test_what_is_not_finite_is_named(runner_of, spoil, message):
    runner = runner_of(Spoil(spoil))
    with pytest.raises(NonFiniteError, match=f'iteration 3: {message}'):
        runner.train()
    assert runner.iter == 2


@pytest.mark.parametrize('kind', ['class', 'mask'])
def test_logits_are_named_with_their_prediction(runner_of, kind):
    """Weights and images are finite, a product of them is not."""

    def overflow(runner):
        head = runner.model.decode_head
        layer = head.cls_embed if kind == 'class' else head.mask_embed[-1]
        layer.weight.data.fill_(3e38)

    runner = runner_of(Spoil(overflow))
    message = rf'iteration 3: \S+.png, \S+.png: .*{kind} logits are not finite in prediction 0'
    with pytest.raises(NonFiniteError, match=message):
        runner.train()


@pytest.mark.parametrize('spoil', [inf_gradient, nan_loss])
def test_an_iteration_is_left_out(runner_of, spoil):
    seen = {}
    note = Spoil(lambda runner: seen.update({runner.iter: weights_of(runner)}), (3, 4))
    runner = runner_of(note, Spoil(spoil), policy='skip')
    runner.train()
    assert runner.iter == 4
    for name, value in seen[2].items():
        torch.testing.assert_close(seen[3][name], value, rtol=0, atol=0, msg=name)
    last = weights_of(runner)
    assert any((last[name] != value).any() for name, value in seen[3].items())
    log = Path(runner.logger.log_file).read_text()
    assert 'iteration 3: ' in log and '; left out' in log
    assert '1 iterations were left out' in log
    assert ': nan' not in log.partition('Iter(train) [1/4]')[2]


def test_running_statistics_do_not_learn_from_it(runner_of):
    runner = runner_of(image='3.png', policy='skip', changes={'train_cfg.max_iters': 6})
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteHook))
    assert 0 < hook.skipped < 6
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_too_many_in_a_row_stop(runner_of):
    changes = {'train_cfg.max_iters': 9}
    spoil = Spoil(inf_gradient, (1, 3, 4, 5, 6))
    runner = runner_of(spoil, policy='skip', max_skipped=2, changes=changes)
    with pytest.raises(NonFiniteError, match='iteration 5: .*; 3 iterations in a row'):
        runner.train()


def test_an_accumulated_update_is_left_out_whole(runner_of):
    seen = {}
    note = Spoil(lambda runner: seen.update({runner.iter: weights_of(runner)}), (3, 5))
    changes = {'optim_wrapper.accumulative_counts': 2, 'train_cfg.max_iters': 6}
    changes['param_scheduler.0.end'] = 9
    runner = runner_of(note, Spoil(nan_loss), policy='skip', changes=changes)
    runner.train()
    params = dict(runner.model.named_parameters())
    for name in params:
        torch.testing.assert_close(seen[4][name], seen[2][name], rtol=0, atol=0)
    assert any((param != seen[4][name]).any() for name, param in params.items())
    hook = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteHook))
    assert hook.skipped == 1


def test_gradients_may_overflow_under_a_loss_scale(runner_of):
    """The scaler leaves such an update out and lowers the scale."""
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**10, growth_interval=1000)
    setup = Spoil(lambda runner: setattr(runner.optim_wrapper, 'loss_scaler', scaler), (1,))
    changes = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    runner = runner_of(setup, Spoil(inf_gradient), changes=changes)
    runner.train()
    assert runner.iter == 4
    assert scaler.get_scale() == 2.0**9


def test_the_batch_can_be_replayed(runner_of, tmp_path):
    runner = runner_of(image='3.png', changes={'train_cfg.max_iters': 10})
    with pytest.raises(NonFiniteError):
        runner.train()
    (file,) = (tmp_path / 'work').glob('nonfinite_iter_*.pth')
    saved = torch.load(file, weights_only=True)
    assert 'images/3.png' in saved['what']
    names = [Path(meta['img_path']).name for meta in saved['metainfo']]
    assert saved['inputs'][names.index('3.png')].isnan().sum() == 3
    model = build_model(apis.load_config(str(tmp_path / 'tiny.py')))
    with pytest.raises(FloatingPointError, match='images/3.png'):
        replay(model, file)


def test_a_sound_batch_replays_to_the_losses_of_its_iteration(runner_of, tmp_path):
    """Of a batch whose gradients were to blame."""
    runner = runner_of(Spoil(inf_gradient))
    with pytest.raises(NonFiniteError):
        runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteHook))
    losses = {name: float(value) for name, value in hook._losses.items()}
    replayed = replay(runner.model, tmp_path / 'work/nonfinite_iter_3.pth')
    assert set(replayed) == set(losses) - {'loss'}
    for name, value in replayed.items():  # points are drawn anew
        assert float(value) == pytest.approx(losses[name], rel=0.3), name


def test_the_host_waits_once_for_verdict_and_losses(runner_of):
    """What is logged later is on the host by then, each of the losses took a wait before."""
    seen = []

    class Look(Hook):
        priority = 'HIGHEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            hook = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteHook))
            storages = {value.untyped_storage().data_ptr() for value in outputs.values()}
            seen.append((outputs is hook._losses, len(storages)))

    runner_of(Look()).train()
    assert seen == [(True, 1)] * 4


@pytest.mark.filterwarnings('error:.*has been overridden')  # by MMEngine's schedulers
def test_what_is_not_broken_is_left_alone(runner_of):
    """The same weights to the last bit, and no trace of the hook afterwards."""
    watched = runner_of()
    watched.train()
    plain = runner_of()
    plain._hooks = [hook for hook in plain.hooks if not isinstance(hook, NonFiniteHook)]
    plain.train()
    for name, value in weights_of(watched).items():
        assert torch.equal(value, plain.model.state_dict()[name]), name
    names = ('step', 'update_params', 'parse_losses')
    for runner in (watched, plain):
        own = [*vars(runner.optim_wrapper), *vars(runner.model)]
        assert [name for name in names if name in own] == ['step']  # the schedulers' counter
        assert hasattr(runner.optim_wrapper.step, '_with_counter')
        assert runner.model.decode_head.faults is None


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(policy='ignore'), "policy must be 'stop' or 'skip', got 'ignore'"),
        (dict(max_skipped=0), 'max_skipped must be at least 1, got 0'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NonFiniteHook(**kwargs)
