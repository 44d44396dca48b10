"""What has to change in a run when there is no GPU, or fewer than processes."""

import gc
import os

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, init_dist, is_distributed

from ..errors import UserError


def prepare_devices(cfg: Config) -> None:
    """Fits a config to the devices of this machine; with enough GPUs nothing changes.

    Without a GPU, distributed runs use gloo (the process group is made here), and synchronised
    batch norm, which needs CUDA, becomes batch norm.

    Raises:
        UserError: There are fewer GPUs than processes on this machine.
    """
    if get_device() != 'cpu':
        check_launcher(cfg.launcher)
        return
    if _replace_sync_bn(cfg.model):
        print('No GPU: SyncBN does not run here and is replaced by BN', flush=True)
    if cfg.launcher != 'none':
        if not is_distributed():
            _init_gloo(cfg.launcher)
        wrapper = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        # MMEngine would name a device by its number, which DDP refuses on a CPU.
        cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {}), 'device_ids': None}


def leave_process_group() -> None:
    """Ends the process group of a distributed run, together with the other processes.

    Left to the interpreter's exit, threads of gloo may outlive it, and the process aborts.
    """
    if is_distributed():
        gc.collect()  # a model in DDP holds the group, and with it threads, beyond its end
        barrier()
        torch.distributed.destroy_process_group()


def check_launcher(launcher: str) -> None:
    """Checks that the launcher did its part, and that on GPUs each process has one of its own.

    Raises:
        UserError: torchrun did not start this, or there are fewer GPUs than processes.
    """
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch is for processes that torchrun starts, as tools/dist_train.sh and '
            'tools/dist_test.sh do; leave it out for one process'
        )
    names = ('LOCAL_WORLD_SIZE', 'SLURM_NTASKS_PER_NODE')
    processes = next((int(os.environ[name]) for name in names if name in os.environ), 1)
    visible = torch.cuda.device_count()
    if launcher != 'none' and torch.cuda.is_available() and processes > visible:
        raise UserError(
            f'{processes} processes were started on this machine, one per GPU, but {visible} GPUs '
            'are visible (CUDA_VISIBLE_DEVICES): lower GPUS'
        )


def _replace_sync_bn(node: object) -> bool:
    """Turns every SyncBN of a config into BN; says whether there was one."""
    if isinstance(node, dict):
        found = node.get('type') == 'SyncBN'
        if found:
            node['type'] = 'BN'
        return any([_replace_sync_bn(child) for child in node.values()]) or found
    if isinstance(node, list | tuple):
        return any([_replace_sync_bn(child) for child in node])
    return False


def _init_gloo(launcher: str) -> None:
    """MMEngine's start of distributed runs, which selects a GPU whatever the backend."""
    set_device = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        init_dist(launcher, backend='gloo')
    finally:
        torch.cuda.set_device = set_device
