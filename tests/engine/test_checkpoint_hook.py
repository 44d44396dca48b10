"""A kill at any moment leaves a whole checkpoint; what is saved loads; others' files stay."""

import datetime
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmseg_faseg.checkpoints.latest import newest_whole_checkpoint
from mmseg_faseg.checkpoints.plain import make_plain
from mmseg_faseg.checkpoints.read import read_checkpoint
from mmseg_faseg.errors import UserError
from mmseg_faseg.files import whole_file

ITERATIONS = 4


class _OneWeight(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs=None, mode='tensor'):
        return dict(loss=(self.weight**2).sum()) if mode == 'loss' else [self.weight.detach()]


class _Score(BaseMetric):
    """Each validation is better than the one before."""

    default_prefix = None

    def __init__(self, scores) -> None:
        super().__init__()
        self._scores = iter(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(mIoU=next(self._scores))


def _train(
    work_dir: Path, scores=range(1, 9), hooks=(), checkpoint=(), train_loader=None, **more
) -> None:
    loader = dict(
        dataset=[dict(inputs=number) for number in range(8)],
        sampler=dict(type='InfiniteSampler'),
        batch_size=2,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
    )
    Runner(
        _OneWeight(),
        str(work_dir),
        train_dataloader=train_loader or loader,
        val_dataloader=loader | dict(sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=2),
        val_cfg=dict(),
        val_evaluator=dict(type=_Score, scores=list(scores)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=1, save_best='mIoU',
                **dict(max_keep_ckpts=1) | dict(checkpoint),
            )
        ),
        custom_hooks=[*hooks, dict(type='ExactResumeHook')],
        log_level='ERROR',
        experiment_name=os.urandom(8).hex(),
        default_scope='mmseg',
        randomness=dict(seed=0),
        **more,
    ).train()  # fmt: skip


class _NoteSaved(Hook):
    priority = 'LOWEST'

    def __init__(self, saved) -> None:
        self._saved = saved

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._saved.value = runner.iter + 1


def _killed_before(operation: int, work_dir: Path, saved) -> None:
    """Trains in a process that is killed before it opens, renames or removes its Nth file."""
    left = [operation]

    def kill(event: str, arguments: tuple) -> None:
        if event not in ('open', 'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir'):
            return
        if event == 'open' and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        if str(arguments[0]).startswith(str(work_dir)):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    _train(work_dir, hooks=[_NoteSaved(saved)])


def test_a_kill_before_any_file_operation_loses_nothing_saved(tmp_path):
    fork = multiprocessing.get_context('fork')
    for operation in range(1, 1000):
        work_dir = tmp_path / str(operation)
        saved = fork.Value('i', 0)
        process = fork.Process(target=_killed_before, args=(operation, work_dir, saved))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        found, passed_over = newest_whole_checkpoint(work_dir)
        assert not passed_over
        done = read_checkpoint(found)['meta']['iter'] if found else 0
        assert done >= saved.value, f'killed before operation {operation}'
        if saved.value > 2:
            best = [read_checkpoint(path)['meta']['iter'] for path in work_dir.glob('best_*')]
            assert 2 in best or 4 in best
    assert operation > 20
    assert sorted(path.name for path in work_dir.glob('*.pth')) == [
        'best_mIoU_iter_4.pth',
        'iter_4.pth',
    ]


def test_what_a_kill_left_is_tidied_up_by_the_run_that_goes_on(tmp_path):
    _train(tmp_path)
    (tmp_path / '.writing-abc').mkdir()
    (tmp_path / '.writing-abc' / 'iter_5.pth').write_bytes(b'half')
    # As if killed after the new one was written, before the old one was deleted.
    latest = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    assert latest['message_hub']['runtime_info']['keep_ckpt_ids'] == [3, 4]
    (tmp_path / 'iter_3.pth').write_bytes((tmp_path / 'iter_4.pth').read_bytes())
    _train(tmp_path, resume=True, load_from=str(tmp_path / 'iter_4.pth'))
    assert not list(tmp_path.glob('.writing*'))
    assert [path.name for path in tmp_path.glob('iter_*')] == ['iter_4.pth']


class _Pairs:
    """A batch sampler that has nothing but batches."""

    sampler = range(8)

    def __iter__(self):
        return iter([[0, 1], [2, 3], [4, 5], [6, 7]])

    def __len__(self):
        return 4


def test_a_batch_sampler_of_any_kind_trains_and_goes_on(tmp_path):
    loader = DataLoader([dict(inputs=number) for number in range(8)], batch_sampler=_Pairs())
    _train(tmp_path, train_loader=loader, checkpoint=dict(max_keep_ckpts=2))
    _train(tmp_path, train_loader=loader, resume=True, load_from=str(tmp_path / 'iter_3.pth'))
    assert read_checkpoint(tmp_path / 'iter_4.pth')['meta']['iter'] == 4


def test_a_second_run_leaves_the_files_of_the_first_alone(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    _train(first, checkpoint=dict(max_keep_ckpts=3))
    before = sorted(first.rglob('*.pth'))
    second.mkdir()
    for step in (1, 2, 3):
        (second / f'iter_{step}.pth').write_bytes(b'of somebody else')
    _train(second, scores=range(50, 60), resume=True, load_from=str(first / 'iter_3.pth'))
    assert sorted(first.rglob('*.pth')) == before
    assert (second / 'best_mIoU_iter_4.pth').is_file()
    assert (second / 'iter_1.pth').read_bytes() == b'of somebody else'


def test_a_checkpoint_names_no_file_to_delete(tmp_path):
    _train(tmp_path / 'run')
    victim = tmp_path / 'victim.pth'
    victim.write_bytes(b'precious')
    path = tmp_path / 'run' / 'iter_4.pth'
    for named in (str(victim), '../victim.pth', 'best_../../victim.pth'):
        checkpoint = torch.load(path, weights_only=True)
        info = checkpoint['message_hub']['runtime_info']
        info.update(best_ckpt=named, best_score=-1, last_ckpt=named)
        info['keep_ckpt_ids'] = ['../../victim', 10**9, -1, 3, True, 4]
        checkpoint['meta']['iter'] = 3
        with whole_file(path) as temporary:
            torch.save(checkpoint, temporary)
        _train(tmp_path / 'run', scores=range(90, 99), resume=True, load_from=str(path))
    assert victim.read_bytes() == b'precious'


@pytest.mark.parametrize(
    ('key', 'value'), [('iter', 10**12), ('iter', -1), ('iter', 'x'), ('epoch', 9), ('seed', 2**40)]
)
def test_a_place_beyond_the_end_is_refused(tmp_path, key, value):
    _train(tmp_path)
    path = tmp_path / 'iter_4.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta'][key] = value
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=rf'iter_4.pth cannot be .* {key}={value!r}.* from 0 to'):
        _train(tmp_path, resume=True, load_from=str(path))


def _saved_and_loaded(checkpoint: dict, path: Path) -> dict:
    torch.save(checkpoint, path)
    return read_checkpoint(path)


def test_what_is_stored_loads_again(tmp_path):
    class Nested(dict):
        pass

    class Number(int):
        pass

    meta = dict(
        classes=Nested(a=Nested(b=(1, 2))),
        palette=np.zeros((0, 3), np.uint8),
        names=np.array(['a', 'b']),
        path=Path('/data'),
        day=datetime.date(2020, 1, 2),
        some={3, 1},
        number=Number(3),
        scalar=np.float32(0.5),
        dtype=torch.float16,
        function=len,
        thing=SimpleNamespace(a=1),
    )
    checkpoint = dict(meta=meta, state_dict=dict(weight=torch.ones(2)), hook=len)
    left_out = make_plain(checkpoint)
    assert [name.split(' ')[0] for name in left_out] == ['meta.function', 'meta.thing', 'hook']
    loaded = _saved_and_loaded(checkpoint, tmp_path / 'a.pth')['meta']
    assert loaded == dict(
        palette=[],
        classes=dict(a=dict(b=(1, 2))),
        names=['a', 'b'],
        path='/data',
        day='2020-01-02',
        some=[1, 3],
        number=3,
        scalar=0.5,
        dtype='torch.float16',
    )


def test_every_scheduler_is_gone_on_with(tmp_path):
    scheduler = dict(type='OneCycleLR', eta_max=0.2, total_steps=ITERATIONS, by_epoch=False)
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    _train(whole, param_scheduler=[scheduler], checkpoint=dict(max_keep_ckpts=-1))
    _train(
        cut, param_scheduler=[scheduler], resume=True, load_from=str(whole / 'iter_2.pth')
    )  # fmt: skip
    weights = [
        torch.load(run / 'iter_4.pth', weights_only=True)['state_dict'] for run in (whole, cut)
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize('pointer', ['', None, 'iter_9.pth', '/somewhere/else/iter_4.pth', '\0'])
@pytest.mark.parametrize('damage', ['torn', 'zeroed', 'empty', 'no meta'])
def test_the_newest_whole_checkpoint_is_found(tmp_path, pointer, damage):
    _train(tmp_path, checkpoint=dict(max_keep_ckpts=2))
    if pointer is None:
        (tmp_path / 'last_checkpoint').unlink()
    else:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert newest_whole_checkpoint(tmp_path) == (tmp_path / 'iter_4.pth', [])
    file = tmp_path / 'iter_4.pth'
    content = file.read_bytes()
    if damage == 'no meta':
        torch.save(dict(state_dict={}), file)
    else:
        half = content[: len(content) // 2]
        file.write_bytes(dict(torn=half, zeroed=bytes(len(content)), empty=b'')[damage])
    found, passed_over = newest_whole_checkpoint(tmp_path)
    assert found == tmp_path / 'iter_3.pth'
    assert len(passed_over) == 1
    assert 'iter_4.pth' in passed_over[0]
    (tmp_path / 'iter_3.pth').unlink()
    with pytest.raises(UserError, match='no checkpoint in .* can be gone on from: .*iter_4.pth'):
        newest_whole_checkpoint(tmp_path)


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_whole_checkpoint(tmp_path) == (None, [])
