"""Where the time of a task goes: seconds of each part of a model in one run."""

import functools
import statistics
import time
from collections import Counter
from contextlib import ExitStack

import torch
from torch import nn

from .task import Task

# Submodules of a segmentor. What none of them claims of a forward pass is prediction.
_MODULES = {
    'backbone': ('backbone', 'neck'),
    'pixel decoder': ('decode_head.pixel_decoder',),
    'transformer decoder': (
        'decode_head.transformer_decoder',
        'decode_head.decoder_input_projs',
        'decode_head.decoder_positional_encoding',
        'decode_head.positional_query',
    ),
}
# Methods that are no modules, by their owner. FASegHead's losses have an entrance of their own.
_METHODS = {
    'losses': ('decode_head', ('loss_by_feat', 'losses_of')),
    'forward': ('', ('loss',)),
}


class PartTimer:
    """Times the outermost calls of the modules and methods of each part.

    Args:
        model: A segmentor.
        device: Where it runs; it is synchronised before and after each call.

    Attributes:
        seconds: By part, since the timer was entered.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        self.model = model
        self.device = device
        self.seconds = Counter()
        self._started: dict[str, float] = {}
        self._depth = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> 'PartTimer':
        modules = dict(self.model.named_modules())
        for part, names in _MODULES.items():
            for name, module in modules.items():
                if name.startswith(names):
                    self._watch(module, part)
        for part, (owner, methods) in _METHODS.items():
            owner = self.model.get_submodule(owner)
            for method in methods:
                if hasattr(owner, method):
                    self._wrap(owner, method, part)
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def _watch(self, module: nn.Module, part: str) -> None:
        before = module.register_forward_pre_hook(lambda *_: self._start(part))
        after = module.register_forward_hook(lambda *_: self._stop(part), always_call=True)
        self._stack.callback(before.remove)
        self._stack.callback(after.remove)

    def _wrap(self, owner: nn.Module, method: str, part: str) -> None:
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            self._start(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._stop(part)

        setattr(owner, method, timed)
        self._stack.callback(delattr, owner, method)

    def _start(self, part: str) -> None:
        if not self._depth[part]:
            self._started[part] = self._now()
        self._depth[part] += 1

    def _stop(self, part: str) -> None:
        self._depth[part] -= 1
        if not self._depth[part]:
            self.seconds[part] += self._now() - self._started[part]

    def _now(self) -> float:
        if self.device != 'cpu':
            torch.cuda.synchronize()
        return time.perf_counter()


def time_parts(
    tasks: list[Task], inputs: list, repeats: int, device: str
) -> list[dict[str, float]]:
    """Median seconds of each part of several models doing a task, in turn.

    Args:
        tasks: 'segmentor' or 'iteration' tasks.
        inputs: Of each.
        repeats: How often each is timed.
        device: Where they run.

    Returns:
        By part, in order: backbone, pixel decoder, transformer decoder, prediction (what else
        belongs to the forward pass), for training losses, backward and step, and the whole. The
        transformer decoder of ``FASegHead`` includes the small masks that guide its attention,
        which ``Mask2FormerHead`` makes outside it: there they are prediction. Masks that
        ``FASegHead`` makes within its losses count as losses.
    """
    runs = [functools.partial(_one_run, task, x, device) for task, x in zip(tasks, inputs)]  # noqa: B905
    seconds: list[list[dict[str, float]]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, own in zip(runs, seconds, strict=True):
            own.append(run())
    return [{part: statistics.median(x[part] for x in own) for part in own[0]} for own in seconds]


def _one_run(task: Task, inputs: object, device: str) -> dict[str, float]:
    with PartTimer(task.model, device) as timer:
        start = timer._now()
        task(inputs)
        whole = timer._now() - start
    seconds = {part: timer.seconds[part] for part in _MODULES}
    forward = whole if task.inference else timer.seconds['forward']
    losses = timer.seconds['losses']
    seconds['prediction'] = forward - sum(seconds.values()) - losses
    if not task.inference:
        seconds['losses'] = losses
        seconds['backward and step'] = whole - forward
    return {**seconds, 'whole': whole}
