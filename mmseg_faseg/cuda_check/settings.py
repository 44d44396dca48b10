"""What the check is asked to do, and what it measures and trains for that."""

from pathlib import Path
from typing import NamedTuple

from ..apis import UserError

# Kinds of steps, as --skip names them.
KINDS = ('tests', 'benchmark', 'loading', 'training')


class Subjects(NamedTuple):
    """What is measured and trained: FASeg first, and the baseline.

    Attributes:
        benchmark: Configs whose time and memory are measured.
        training: Configs that are trained.
        crop: Side in pixels of the images that these train on.
        sizes: Of the measured images, as ``tools/benchmark.py`` takes them.
        precisions: Likewise.
        batches: Numbers of images.
        repeats: Timed runs.
    """

    benchmark: tuple[str, str]
    training: tuple[str, str]
    crop: int
    sizes: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    repeats: int


SUBJECTS = {
    'cuda': Subjects(
        ('mmseg_faseg::faseg_swin-t_ade20k.py', 'mmseg_faseg::mask2former_swin-t_ade20k.py'),
        ('mmseg_faseg::faseg_r18_camvid.py', 'mmseg_faseg::mask2former_r18_camvid.py'),
        crop=256,
        sizes=('512', '1024x2048'),
        precisions=('float32', 'tf32', 'float16', 'bfloat16'),
        batches=(1, 2, 8),
        repeats=10,
    ),
    # A dry run of everything but CUDA.
    'cpu': Subjects(
        ('mmseg_faseg::faseg_toy.py', 'mmseg_faseg::mask2former_toy.py'),
        ('mmseg_faseg::faseg_toy.py', 'mmseg_faseg::mask2former_toy.py'),
        crop=128,
        sizes=('64',),
        precisions=('float32',),
        batches=(1, 2),
        repeats=2,
    ),
}


class Settings(NamedTuple):
    """What the check is asked to do.

    Attributes:
        root: The repository, whose tools and tests run.
        out: Folder for results, logs and checkpoints.
        command: The command line, for the report.
        device: 'cuda', or 'cpu' for a dry run with toy models.
        limit: Minutes for everything.
        train_minutes: Of training, for each model and seed, over all calls.
        iterations: Length of the training schedule; None leaves it as the configs say.
        seeds: Of training.
        data_root: Of the data set to train on; None leaves it as the configs say.
        skip: Kinds of steps to leave out.
    """

    root: Path
    out: Path
    command: str
    device: str = 'cuda'
    limit: float = 60
    train_minutes: float = 10
    iterations: int | None = None
    seeds: tuple[int, ...] = (0,)
    data_root: str | None = None
    skip: tuple[str, ...] = ()

    @property
    def subjects(self) -> Subjects:
        """What is measured and trained on this device."""
        return SUBJECTS[self.device]

    def check(self) -> None:
        """Checks all that can be known at once.

        Raises:
            UserError: A setting is out of range.
        """
        if self.device not in SUBJECTS:
            raise UserError(f'--device must be cuda or cpu, got {self.device}')
        for option in ('limit', 'train_minutes'):
            if not getattr(self, option) > 0:
                name = option.replace('_', '-')
                raise UserError(f'--{name} must be more than 0, got {getattr(self, option):g}')
        if self.iterations is not None and self.iterations < 1:
            raise UserError(f'--iterations must be at least 1, got {self.iterations}')
        if min(self.seeds) < 0:
            raise UserError(f'--seeds must be at least 0, got {min(self.seeds)}')
        unknown = [kind for kind in self.skip if kind not in KINDS]
        if unknown:
            raise UserError(f'--skip takes {", ".join(KINDS)}, got {", ".join(unknown)}')
        if self.data_root is not None and not Path(self.data_root).is_dir():
            raise UserError(f'--data-root: there is no folder {self.data_root}')
