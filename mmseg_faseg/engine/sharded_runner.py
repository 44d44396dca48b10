"""Training where one GPU is too small: the processes share parameters and optimizer states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine import dist
from mmengine.device import get_device
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS, RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import Optimizer

from ..errors import UserError
from ..sharding import gathered, own_part, shared
from .runner import ReadableRunner

_LISTS = (nn.ModuleList, nn.Sequential)
_SMALLEST = 10_000  # parameters that are worth a gathering of their own


@RUNNERS.register_module()
class ShardedRunner(ReadableRunner):
    """Trains with fully sharded data parallelism (PyTorch's ``fully_shard``, FSDP2).

    Each process holds an equal share of every parameter, its gradient and its optimizer state.
    Those of a block of the backbone are gathered when the block runs, those of the decode head with
    the first. Losses, gradients and clipping are those of ``DistributedDataParallel``; checkpoints
    are whole, as unsharded training writes them. Testing holds the whole model in each process.

    MMEngine's ``FSDPStrategy`` is not used: it takes FSDP1, where ``clip_grad`` measures the
    gradients of its own share alone, and whose whole checkpoints are not to be had without a GPU.

    Raises:
        UserError: In training: there is one process, or something that holds copies or scales of
            whole parameters.
    """

    def train(self) -> nn.Module:
        """Trains; see :meth:`mmengine.runner.Runner.train`."""
        if not self.distributed:
            raise UserError(
                "runner_type='ShardedRunner' shares the model among processes, got one: start "
                "tools/dist_train.sh, or train with runner_type='ReadableRunner'"
            )
        if any(isinstance(hook, EMAHook) for hook in self.hooks):
            raise UserError(
                'EMAHook keeps copies of whole parameters, which ShardedRunner shares among '
                'processes: leave one of the two out'
            )
        return super().train()

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Takes the model to its device; it is shared out when it has its first weights."""
        if not self.distributed:
            return super().wrap_model(None, model)
        return model.to(get_device())

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Builds it, for the whole parameters."""
        built = super().build_optim_wrapper(optim_wrapper)
        scaler = getattr(built, 'loss_scaler', None)
        if scaler is not None and scaler.is_enabled():
            raise UserError(
                'optim_wrapper scales losses, which ShardedRunner does not: use '
                "optim_wrapper=dict(dtype='bfloat16', loss_scale=dict(enabled=False))"
            )
        return built

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Gathers what the processes share, for the first one to save."""
        weights = gathered(self.model.state_dict())
        states = gathered(self.optim_wrapper.state_dict())
        with (
            _replaced(self.model, 'state_dict', lambda: weights),
            _replaced(self.optim_wrapper, 'state_dict', lambda: states),
        ):
            super().save_checkpoint(*args, **kwargs)

    def _init_model_weights(self) -> None:
        super()._init_model_weights()
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        whole = sum(parameter.numel() for parameter in self.model.parameters())
        mesh = init_device_mesh(get_device(), (dist.get_world_size(),))
        for block in blocks_of(self.model.backbone):
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.model.register_load_state_dict_pre_hook(_share_weights)
        optimizer = self.optim_wrapper.optimizer
        optimizer.register_load_state_dict_pre_hook(_share_states)
        parameters = dict(self.model.named_parameters())
        for group in optimizer.param_groups:
            group['params'] = [parameters[names[id(parameter)]] for parameter in group['params']]
        own = sum(own_part(parameter).numel() for parameter in parameters.values())
        self.logger.info(f'Sharded: {own:,} of {whole:,} parameters in this process')
        self.register_hook(GatheredValidationHook(), 'HIGHEST')


@HOOKS.register_module()
class GatheredValidationHook(Hook):
    """Gathers a sharded model for as long as a validation takes.

    Images of different sizes, windows and views run the model different numbers of times, and a
    sharded one waits each time for all processes.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Gathers it."""
        for module in _sharded(runner.model):
            module.unshard()
            module.set_reshard_after_forward(False, recurse=False)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Shares it out again."""
        for module in _sharded(runner.model):
            module.reshard()
            module.set_reshard_after_forward(module is not runner.model, recurse=False)


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """The parts of a backbone that repeat, such as Swin's and ResNet's blocks.

    Those are the members of its lists and sequences of modules; where members are stages, theirs.
    """
    found = []
    for child in backbone.children():
        if not isinstance(child, _LISTS):
            found += blocks_of(child)
            continue
        for member in child:
            if _is_stage(member):
                found += blocks_of(
                    nn.ModuleList([member]) if isinstance(member, _LISTS) else member
                )
            elif sum(parameter.numel() for parameter in member.parameters()) >= _SMALLEST:
                found.append(member)
    return found


def _is_stage(module: nn.Module) -> bool:
    """Whether something made of parts repeats in it; layers repeat within blocks, too."""
    lists = (part for part in module.modules() if isinstance(part, _LISTS))
    for part in lists:
        kinds = [type(member) for member in part if next(member.children(), None) is not None]
        if len(kinds) > len(set(kinds)):
            return True
    return False


def _sharded(model: nn.Module) -> Iterator[FSDPModule]:
    """Its sharded parts, the model itself first."""
    return (module for module in model.modules() if isinstance(module, FSDPModule))


def _share_weights(model: nn.Module, state_dict: dict, prefix: str, *_: Any) -> None:
    for name, parameter in model.named_parameters():
        if prefix + name in state_dict:
            state_dict[prefix + name] = shared(state_dict[prefix + name], parameter)


def _share_states(optimizer: Optimizer, state_dict: dict) -> dict:
    parameters = [own for group in optimizer.param_groups for own in group['params']]
    states = {
        index: {key: shared(value, parameters[index]) for key, value in state.items()}
        for index, state in state_dict['state'].items()
    }
    return state_dict | dict(state=states)


@contextmanager
def _replaced(owner: Any, name: str, method: Callable) -> Iterator[None]:
    setattr(owner, name, method)
    try:
        yield
    finally:
        delattr(owner, name)
