"""Refuses checkpoints of another model, which MMEngine would load in part and go on."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from ..errors import UserError
from ..models.ops.finite import nonfinite
from .checkpoint_entries import check_entries
from .checks.names import CHECKS
from .checks.report import Report, skipped_checks

# What depends on the number of classes: new classes get new weights.
_PER_CLASS = re.compile(r'(^|\.)(cls_embed|conv_seg|class_weight|mask_pilot)(\.|$)')
# Only trained with: a model gives the same predictions with and without it.
_TRAINED_WITH = re.compile(r'(^|\.)(auxiliary_head|mask_pilot)\.')
_PILOT = re.compile(r'(^|\.)mask_pilot\.')


class CheckpointMismatchError(UserError):
    """A checkpoint does not fit the model it is loaded into."""


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Compares names and shapes of a checkpoint with the model before its weights are loaded.

    Resuming needs all of them to match, testing all that predictions are made with. Training from
    ``load_from`` may differ in the shape of what depends on the number of classes (``cls_embed``,
    ``conv_seg`` of MMSegmentation's other heads, class weights), which then starts anew, and in
    whether there is a mask pilot; the log says what was taken, what is new and what was left.
    Weights that are not finite are always refused.

    Raises:
        CheckpointMismatchError: The first names and the number of those that do not match.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks a checkpoint that has been read but not yet loaded into the model."""
        name = runner._load_from or 'the latest checkpoint'
        weights = _finite_weights_of(checkpoint, name)
        report = Report(skipped_checks(runner.cfg.get('skip_checks'), CHECKS))
        if isinstance(checkpoint.get('meta'), dict):
            # `Runner.resume` would run this entry as Python code. MMEngine does not write it.
            checkpoint['meta'].pop('config', None)
        differences = compare(_unwrapped(runner.model).state_dict(), weights)
        training = isinstance(runner._train_loop, BaseLoop)
        fine_tuning = training and not runner._resume
        reshaped = {key for key in differences.reshaped if fine_tuning and _PER_CLASS.search(key)}
        new: list[str] = []
        left: list[str] = []
        if fine_tuning or not training:
            new, left = differences.leave_out(_PILOT if training else _TRAINED_WITH)
        if not reshaped:  # else the classes are others on purpose
            for text in _other_names(checkpoint, runner, name):
                report.warn('class_names_of_checkpoint', text)
        problem = differences.describe(without=reshaped)
        if problem:
            hint = ' (weights of a backbone alone go to its init_cfg)' if fine_tuning else ''
            raise CheckpointMismatchError(f'{name} is of another model: {problem}{hint}')
        if training and runner._resume:
            check_entries(checkpoint, name)
        if fine_tuning:
            runner.logger.info(
                f'Fine-tuning from {name}: {len(weights) - len(reshaped) - len(left)} tensors '
                'taken; new, because their shape depends on the classes or the checkpoint has '
                f'none: {", ".join(sorted(reshaped.union(new))) or "none"}; '
                f'left: {", ".join(left) or "none"}'
            )


def weights_to_predict_with(
    model: torch.nn.Module, checkpoint: dict, name: str
) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint that has all that a model predicts with, and of its shapes.

    Raises:
        CheckpointMismatchError: It has not, or there are weights that are not finite.
    """
    weights = _finite_weights_of(checkpoint, name)
    differences = compare(model.state_dict(), weights)
    differences.leave_out(_TRAINED_WITH)
    problem = differences.describe()
    if problem:
        raise CheckpointMismatchError(f'{name} is of another model: {problem}')
    return weights


def _other_names(checkpoint: dict, runner: Runner, name: str) -> Iterator[str]:
    """Says where a class of the checkpoint has another name in the data."""
    meta = checkpoint.get('meta')
    trained_on = meta.get('dataset_meta') if isinstance(meta, dict) else None
    theirs = trained_on.get('classes') if isinstance(trained_on, dict) else None
    loops = (runner._test_loop, runner._val_loop, runner._train_loop)
    datasets = [loop.dataloader.dataset for loop in loops if isinstance(loop, BaseLoop)]
    ours = datasets[0].metainfo.get('classes') if datasets else None
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        for label, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
            if mine != other:
                yield f'class {label} is {mine!r} in the data, but was {other!r} for {name}'
                return


class Differences:
    """Where a checkpoint departs from a model.

    Attributes:
        missing: Names that only the model has.
        unexpected: Names that only the checkpoint has.
        reshaped: Names of different shape: in the checkpoint, in the model.
    """

    def __init__(
        self,
        missing: list[str],
        unexpected: list[str],
        reshaped: dict[str, tuple[torch.Size, torch.Size]],
    ) -> None:
        self.missing = missing
        self.unexpected = unexpected
        self.reshaped = reshaped

    def leave_out(self, optional: re.Pattern) -> tuple[list[str], list[str]]:
        """Forgets those missing and those unexpected names that match, and returns them."""
        missing = [key for key in self.missing if optional.search(key)]
        unexpected = [key for key in self.unexpected if optional.search(key)]
        self.missing = [key for key in self.missing if key not in missing]
        self.unexpected = [key for key in self.unexpected if key not in unexpected]
        return missing, unexpected

    def describe(self, without: Iterable[str] = ()) -> str:
        """One line with counts and the first names; empty if nothing differs.

        Args:
            without: Names whose shape is allowed to differ.
        """
        shapes = [
            f'{key} {tuple(found)} instead of {tuple(wanted)}'
            for key, (found, wanted) in self.reshaped.items()
            if key not in without
        ]
        parts = [
            _count_and_first(self.missing, 'missing'),
            _count_and_first(self.unexpected, 'unexpected'),
            _count_and_first(shapes, 'of another shape'),
        ]
        return '; '.join(part for part in parts if part)


def compare(
    model_state: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]
) -> Differences:
    """Compares names and shapes of a model's state with a checkpoint's weights."""
    # Batch norm counts its batches only since PyTorch 0.4.1; MMEngine does not ask for it either.
    missing = [
        key for key in model_state if key not in weights and 'num_batches_tracked' not in key
    ]
    return Differences(
        missing=missing,
        unexpected=[key for key in weights if key not in model_state],
        reshaped={
            key: (weights[key].shape, tensor.shape)
            for key, tensor in model_state.items()
            if key in weights and weights[key].shape != tensor.shape
        },
    )


def _finite_weights_of(checkpoint: dict, name: str) -> dict[str, torch.Tensor]:
    """The checkpoint's weights, without the prefix that MMEngine strips, too."""
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    named = isinstance(weights, dict) and weights
    if not named or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointMismatchError(
            f'{name} holds no weights: expected a dict of tensors, or one under "state_dict"'
        )
    found = nonfinite(weights)
    if found:
        raise CheckpointMismatchError(
            f'{name} holds weights that are not finite: {found}; take an earlier checkpoint'
        )
    return {key.removeprefix('module.'): value for key, value in weights.items()}


def _unwrapped(model: Any) -> torch.nn.Module:
    """The model whose names the checkpoint uses: without DDP and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _count_and_first(names: list[str], what: str, show: int = 3) -> str:
    more = ', ...' if len(names) > show else ''
    return f'{len(names)} {what} ({", ".join(names[:show])}{more})' if names else ''
