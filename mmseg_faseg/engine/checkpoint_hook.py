"""MMEngine's ``CheckpointHook``, whose checkpoints survive a kill at any moment and load again."""

from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..checkpoints.plain import make_plain
from ..files import forget_unfinished, whole_file


@HOOKS.register_module(force=True)
class CheckpointHook(MMEngineCheckpointHook):
    """Takes the place of MMEngine's hook, with its arguments and its names of files.

    - Older checkpoints, with ``max_keep_ckpts`` and ``save_best``, are deleted when the new one is
      on the disk. MMEngine deletes them first.
    - A checkpoint that training goes on from says which ones are kept and which is the best. That
      is believed of files in the hook's own folder: a run deletes nothing that another one wrote.
    - What is stored beside the weights is made plain (:mod:`mmseg_faseg.checkpoints.plain`), so
      that it loads again.
    """

    file_backend: Any

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, after looking at what a checkpoint said about it."""
        self._outdated: list[str] = []
        self._said: set[str] = set()
        self._believe_own_files(runner)
        super().before_train(runner)
        if isinstance(self.file_backend, LocalBackend):
            if dist.is_main_process():
                forget_unfinished(self.out_dir)
            self.file_backend = _DeletesLater(self._outdated)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Makes what is stored beside the weights plain."""
        left_out = [name for name in make_plain(checkpoint) if name not in self._said]
        self._said.update(left_out)
        if left_out:
            runner.logger.warning(
                f'left out of checkpoints, which hold data only: {", ".join(left_out)}'
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            # Until it is deleted the oldest one is on the list, for who goes on from here.
            kept = [*self.keep_ckpt_ids, step]
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            outdated = kept[: -self.max_keep_ckpts]
            self._outdated += [self._path_of(old) for old in outdated]
            self.keep_ckpt_ids.append(step)  # and lets go of those
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self._path_of(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if dist.is_main_process():
            with whole_file(Path(runner.work_dir, 'last_checkpoint')) as pointer:
                pointer.write_text(self.last_ckpt)
        self._delete_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._delete_outdated()

    def _path_of(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _delete_outdated(self) -> None:
        if dist.is_main_process():
            for path in self._outdated:
                if self.file_backend.isdir(path):  # as DeepSpeed and FSDP save
                    self.file_backend.rmtree(path)
                elif self.file_backend.isfile(path):
                    self.file_backend.delete(path)
        self._outdated.clear()

    def _believe_own_files(self, runner: Runner) -> None:
        folder = Path(self.out_dir or runner.work_dir)
        if folder != Path(runner.work_dir):
            folder = folder / Path(runner.work_dir).name  # as MMEngine names it
        origin = Path(runner._load_from or folder / 'latest').parent
        own = origin.resolve() == folder.resolve()
        there = {path.name for path in folder.iterdir()} if own else set()
        info = runner.message_hub.runtime_info
        steps = info.pop('keep_ckpt_ids', None)
        if own and isinstance(steps, list):
            kept = [step for step in steps if type(step) is int]
            info['keep_ckpt_ids'] = [
                step for step in kept if self.filename_tmpl.format(step) in there
            ]
        for key in [key for key in info if key.startswith('best_ckpt')]:
            name = Path(str(info[key])).name
            if name.startswith('best_') and name in there:
                info[key] = str(folder / name)
            else:
                del info[key]
                info.pop(key.replace('best_ckpt', 'best_score'), None)


class _DeletesLater(LocalBackend):
    """A disk that notes what MMEngine's hook deletes before it has saved anew."""

    def __init__(self, noted: list[str]) -> None:
        self._noted = noted
        self.delete = super().remove

    def remove(self, filepath: str | Path) -> None:
        """Notes a file to delete."""
        self._noted.append(str(filepath))
