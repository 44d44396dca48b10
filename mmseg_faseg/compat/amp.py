"""Mixed-precision training without a GPU: MMEngine's ``AmpOptimWrapper`` asserts that there is one.

The class here takes its name in the registry. Where MMEngine finds an accelerator it is MMEngine's,
line by line; on a CPU it runs autocast in bfloat16, whose range is float32's, so that losses need
no scaling.
"""

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module(force=True)
class AmpOptimWrapper(MMEngineAmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper``, which on a CPU trains in bfloat16 without loss scaling.

    Args:
        loss_scale: ``'dynamic'``, a number or arguments of ``GradScaler``; unused on a CPU.
        dtype: Of autocast, ``'float16'`` or ``'bfloat16'``; on a CPU it is bfloat16 whatever is
            asked for.
        use_fsdp: Scale gradients for FSDP; unused on a CPU.
        **kwargs: Of :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(
        self,
        loss_scale: str | float | dict = 'dynamic',
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ) -> None:
        if get_device() != 'cpu':
            super().__init__(loss_scale=loss_scale, dtype=dtype, use_fsdp=use_fsdp, **kwargs)
            return
        OptimWrapper.__init__(self, **kwargs)
        # Disabled, it hands losses and steps through, so the inherited methods hold.
        self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
        self._scale_update_param = None
        self.cast_dtype = torch.bfloat16
        print_log('AMP without a GPU: autocast in bfloat16, no loss scaling', logger='current')

    def load_state_dict(self, state_dict: dict) -> None:
        """Loads a state; after a run that began on a CPU the loss scale starts anew."""
        if not state_dict.get('loss_scaler'):
            state_dict = {key: value for key, value in state_dict.items() if key != 'loss_scaler'}
        super().load_state_dict(state_dict)
