"""Training that goes on where it stopped, as if it had not."""

import itertools

import torch
from mmengine import dist
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner

from ..compat.sample_seeds import NumberedBatches, seed_generators
from ..errors import UserError


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed run equal one that was never interrupted, bit by bit on a CPU.

    What is random in an iteration follows from the run's seed, the process's rank and the
    iteration; what is random in a sample from the seed and the sample's place in the order, however
    many workers load (:mod:`mmseg_faseg.compat.sample_seeds`). So no generator's state needs to be
    stored, and the images that were trained on are skipped without being loaded. A validation that
    was due at the checkpoint is made.

    With another number of processes, or of images in a batch, the order of the images goes on; the
    points at which masks are compared are others, which the log says.

    Raises:
        UserError: A checkpoint to go on from says that it is beyond the end of training.
    """

    priority = 'LOWEST'  # validates in `before_train`, when all other hooks are ready

    def __init__(self) -> None:
        self._seed = 0
        self._written: dict[str, int] = {}  # how the checkpoint's run counted

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Stores what an iteration was."""
        checkpoint['meta'].update(_counts(runner))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Looks at where in training a checkpoint to go on from was written."""
        loop = runner._train_loop
        if not (runner._resume and isinstance(loop, BaseLoop)):
            return
        meta = checkpoint.get('meta')
        meta = meta if isinstance(meta, dict) else {}
        last_seed = 2**32 - 1
        for key, end in dict(iter=loop.max_iters, epoch=loop.max_epochs, seed=last_seed).items():
            found = meta.get(key)
            if type(found) is not int or not 0 <= found <= end:
                raise UserError(
                    f'{runner._load_from or "the latest checkpoint"} cannot be gone on from: its '
                    f'meta has {key}={found!r}, which must be a number from 0 to {end}'
                )
        self._written = {
            key: meta[key]
            for key in _counts(runner)
            if type(meta.get(key)) is int and 0 < meta[key] < 2**31
        }

    def before_train(self, runner: Runner) -> None:
        """Takes the run's seed, and validates if that is due at the checkpoint."""
        seeds = [runner.seed]
        dist.broadcast_object_list(seeds)  # with `diff_rank_seed` each process has one of its own
        self._seed = seeds[0]
        if self._resumed(runner) and _validation_is_due(runner):
            runner.logger.info('The validation that is due at this checkpoint:')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Begins the data where the checkpoint was written."""
        batches = runner.train_dataloader.batch_sampler
        if not self._resumed(runner) or not isinstance(batches, NumberedBatches):
            return
        batches.seed = self._seed
        if hasattr(batches.sampler, 'seed'):
            batches.sampler.seed = self._seed
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._skip(runner, batches)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Seeds what is random in the model and its losses."""
        seed = seed_generators(self._seed, runner.iter, dist.get_rank())
        if get_device() != 'cpu':
            torch.manual_seed(seed)

    @staticmethod
    def _resumed(runner: Runner) -> bool:
        return runner._resume and runner.iter > 0

    def _skip(self, runner: Runner, batches: NumberedBatches) -> None:
        loop, counts = runner.train_loop, _counts(runner)
        written = counts | self._written
        images = runner.iter * written['images_per_iteration']
        skip, rest = divmod(images, counts['images_per_iteration'])
        if written != counts:
            runner.logger.warning(
                f'The checkpoint was written by {written["processes"]} processes with '
                f'{written["images_per_iteration"]} images per iteration, now there are '
                f'{counts["processes"]} with {counts["images_per_iteration"]}: the order of the '
                f'images goes on{f", {rest} of them once more" if rest else ""}; the points at '
                'which masks are compared are others'
            )
        iterator = loop.dataloader_iterator
        if hasattr(batches.sampler, 'epoch'):  # it ends, and begins again in another order
            iterator._epoch, skip = divmod(skip, len(loop.dataloader))
            batches.sampler.set_epoch(iterator._epoch)
        batches.skip = skip
        iterator._iterator = iter(loop.dataloader)
        if hasattr(iterator, 'skip_iter'):  # the fork's loop asks for it
            iterator.skip_iter = lambda iterations: None
        else:  # MMEngine's loads and drops a batch for each iteration that was trained
            trained = itertools.repeat(None, runner.iter)
            loop.dataloader_iterator = itertools.chain(trained, iterator)


def _counts(runner: Runner) -> dict[str, int]:
    processes = dist.get_world_size()
    batches = runner.train_dataloader.batch_sampler
    images = getattr(batches, 'batch_size', 1)
    return dict(images_per_iteration=processes * images, processes=processes)


def _validation_is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    if runner._val_loop is None or not hasattr(loop, 'val_interval'):
        return False
    loop._decide_current_val_interval()
    by_iteration = isinstance(loop, IterBasedTrainLoop)
    done, end = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
