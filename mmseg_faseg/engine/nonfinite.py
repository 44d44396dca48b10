"""NaN and infinity in training: found before weights learn from them, and named."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UserError
from ..models.ops.finite import nonfinite
from ..sharding import gathered, own_part
from .failed_batch import images_of, samples_of, save_batch

_POLICIES = ('stop', 'skip')
_SHOWN = 4  # names in a message


class NonFiniteError(UserError):
    """Something in a training iteration is NaN or infinite."""


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops training, or leaves an iteration out, where something is NaN or infinite.

    Looked at are mask and class logits with their matching costs, losses, and gradients, before
    the weights learn from them. What is found is searched back to the image or weight that it began
    with, and the batch is saved as ``nonfinite_iter_N.pth`` in ``work_dir``
    (:mod:`.failed_batch`). Several processes decide together. The verdict comes to the host with
    the losses that are logged anyway, all in one transfer.

    Gradients are not looked at under a loss scale (``AmpOptimWrapper`` in float16): there they are
    meant to overflow now and then, and the scaler leaves such updates out and lowers the scale.

    Args:
        policy: ``'stop'``, or ``'skip'``: weights and running statistics stay what they were, the
            log has a line. Where gradients are accumulated the whole update is left out.
        max_skipped: With ``'skip'``, training stops after more such iterations in a row.

    Raises:
        ValueError: An argument is out of range.
        NonFiniteError: In training; one line with the iteration, what was found and where.
    """

    def __init__(self, policy: str = 'stop', max_skipped: int = 10) -> None:
        if policy not in _POLICIES:
            raise ValueError(f"policy must be 'stop' or 'skip', got {policy!r}")
        if max_skipped < 1:
            raise ValueError(f'max_skipped must be at least 1, got {max_skipped}')
        self.policy = policy
        self.max_skipped = max_skipped
        self.skipped = 0
        self._in_a_row = 0
        self._spoilt = False  # an accumulated update, by an iteration before its last
        self._judged = False  # the iteration that runs
        self._faults: list[str] = []
        self._losses: dict[str, Tensor] = {}
        self._replaced: list[tuple[Any, str, Any]] = []
        self._batch: Any = None
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        """Takes its place between losses, backward pass and update."""
        self.skipped = self._in_a_row = 0
        self._spoilt = False
        model, wrapper = _unwrapped(runner.model), runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            return
        self._forget(runner)
        self._statistics = [(own, own.clone()) for own in _statistics(model)]
        self._replace(model, 'parse_losses', self._note_losses)
        self._replace(wrapper, 'update_params', functools.partial(self._update, runner))
        self._replace(wrapper, 'step', functools.partial(self._step, runner))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Notes what the iteration starts from."""
        self._batch, self._judged = data_batch, False
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        self._collect_faults(runner, self._faults)
        for own, copy in self._statistics:
            copy.copy_(own)

    def after_train(self, runner: Runner) -> None:
        """Leaves model and optimizer as they were."""
        self._forget(runner)
        if self.skipped:
            runner.logger.warning(
                f'{self.skipped} iterations were left out: something in them was not finite'
            )

    def _replace(self, owner: Any, name: str, method: Callable) -> None:
        """Puts ``method``, which takes the method there was first, in its place."""
        there = getattr(owner, name)
        self._replaced.append((owner, name, vars(owner).get(name)))
        # With its attributes, by which MMEngine's schedulers see that they count its calls.
        setattr(owner, name, functools.update_wrapper(functools.partial(method, there), there))

    def _forget(self, runner: Runner) -> None:
        while self._replaced:
            owner, name, own = self._replaced.pop()
            delattr(owner, name)
            if own is not None:
                setattr(owner, name, own)
        self._collect_faults(runner, None)

    def _collect_faults(self, runner: Runner, faults: list[str] | None) -> None:
        self._faults.clear()
        for module in _unwrapped(runner.model).modules():
            if hasattr(module, 'faults'):  # losses that match, which need finite numbers
                module.faults = faults

    def _note_losses(self, parse_losses: Callable, losses: dict) -> tuple[Tensor, dict]:
        total, self._losses = parse_losses(losses)
        return total, self._losses

    def _update(self, runner: Runner, update_params: Callable, *args: Any, **kwargs: Any) -> None:
        update_params(*args, **kwargs)
        if not self._judged:  # gradients that wait for those of further iterations
            self._spoilt |= not self._is_sound(runner, gradients=False)

    def _step(self, runner: Runner, step: Callable, **kwargs: Any) -> None:
        spoilt, self._spoilt = self._spoilt, False
        if self._is_sound(runner, gradients=not spoilt) and not spoilt:
            self._in_a_row = 0
            step(**kwargs)

    def _is_sound(self, runner: Runner, gradients: bool) -> bool:
        """Judges an iteration, whose losses are then on the host.

        Raises:
            NonFiniteError: It is not sound, and is not to be left out.
        """
        self._judged = True
        values = [value.detach() for value in self._losses.values()]
        flags = [torch.stack([value.isfinite().all() for value in values]).all()]
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if gradients and not (scaler is not None and scaler.is_enabled()):
            grads = [p.grad for p in runner.model.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm([own_part(grad) for grad in grads], torch.inf)
            flags.append(norm.isfinite())
        bad = (~torch.stack([flag.to(values[0].device) for flag in flags]).all()).to(values[0])
        if self._faults:
            bad = torch.ones_like(bad)
        dist.all_reduce(bad, 'max')
        verdict, *on_host = torch.stack([bad, *(value.to(bad) for value in values)]).cpu()
        self._losses.update(zip(self._losses, on_host, strict=True))
        if verdict == 0:
            self._collect_faults(runner, None)
            return True
        self._settle(runner)
        return False

    def _settle(self, runner: Runner) -> None:
        """Leaves an iteration out, or stops training."""
        model, iteration = _unwrapped(runner.model), runner.iter + 1
        for own, copy in self._statistics:  # the running ones have seen it by now
            own.copy_(copy)
        found = self._find(model)
        self._collect_faults(runner, None)
        _, what = min(dist.all_gather_object(found))  # other processes only met what came of it
        self.skipped += 1
        self._in_a_row += 1
        stops = self.policy == 'stop' or self._in_a_row > self.max_skipped
        rank = f'_rank_{dist.get_rank()}' if dist.get_world_size() > 1 else ''
        file = Path(runner.work_dir, f'nonfinite_iter_{iteration}{rank}.pth')
        message = f'iteration {iteration}: {what}'
        weights = gathered(model.state_dict(), everywhere=True) if stops else None
        save_batch(file, self._batch, iteration, found[1], weights)
        if self.policy == 'skip' and stops:
            message = f'{message}; {self._in_a_row} iterations in a row'
        message = f'{message}; the batch is in {file}'
        if stops:
            self._forget(runner)
            raise NonFiniteError(message)
        self._losses.clear()  # the log shows means, which would stay NaN for a while
        runner.logger.warning(f'{message}; left out')

    def _find(self, model: nn.Module) -> tuple[int, str]:
        """How near the beginning it was found, 0 nearest, and what: images, weights, and so on."""
        losses = [name for name, loss in self._losses.items() if not loss.isfinite()]
        losses = [name for name in losses if name != 'loss'] or losses
        batch = f'in a batch of {_some(_names(self._batch))}'
        weights = nonfinite(model.state_dict())
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found = [
            '; '.join(_bad_images(self._batch)),
            weights and f'the weights were not finite before it: {weights}',
            '; '.join(dict.fromkeys(self._faults)),
            losses and f'{_some(losses)}: not finite, {batch}',
            f'gradients are not finite: {nonfinite(grads)}, {batch}',
        ]
        return next((place, str(text)) for place, text in enumerate(found) if text)


def _statistics(model: nn.Module) -> list[Tensor]:
    """Running statistics, which a forward pass in training changes."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]


def _unwrapped(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model


def _names(batch: Any) -> list[str]:
    return [str(sample.metainfo.get('img_path', 'an image')) for sample in samples_of(batch)]


def _bad_images(batch: Any) -> list[str]:
    found = []
    for image, name in zip(images_of(batch), _names(batch), strict=True):
        count = int((~image.isfinite()).sum())
        if count:
            found.append(f'{name}: {count} of {image.numel()} values of the image are not finite')
    return found


def _some(names: list[str]) -> str:
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more
