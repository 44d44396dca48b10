"""What all tasks share: a model, inputs for it, and one run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import Size, feature_maps, images
from .precision import PRECISIONS
from .subjects import Subject


class Task:
    """Something that a model does, as often as wanted.

    Args:
        subject: Whose model it is.
        model: That model, on its device.

    Attributes:
        inference: Whether it runs without gradients.
    """

    inference = True

    def __init__(self, subject: Subject, model: nn.Module) -> None:
        self.subject = subject
        self.model = model.train(not self.inference)
        self.device = next(model.parameters()).device
        self.precision = PRECISIONS[subject.precision]

    @classmethod
    def check(cls, subject: Subject, sizes: Sequence[Size]) -> None:
        """Checks, before any model is built, that the subject can do it.

        Raises:
            UserError: It cannot.
        """

    @property
    def head_cfg(self) -> dict:
        """Config of the decode head."""
        return self.subject.cfg.model.decode_head

    def inputs(self, size: Size, batch: int) -> Any:
        """Makes what the task takes, for an image of size (H, W) in pixels."""
        raise NotImplementedError

    def run(self, inputs: Any) -> Any:
        """Does it once."""
        raise NotImplementedError

    def __call__(self, inputs: Any) -> Any:
        """Does it once, with or without gradients, in the subject's precision."""
        with torch.set_grad_enabled(not self.inference), self.precision.float32_products():
            return self.run(inputs)

    def autocast(self) -> torch.autocast:
        """What a forward pass runs in."""
        dtype = self.precision.autocast
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def class_maps(self, result: Any) -> Tensor:
        """Class ids (B, H, W) of an inference task's result."""
        raise NotImplementedError

    def _features(self, size: Size, batch: int) -> list[Tensor]:
        strides = self.head_cfg.get('strides') or [4, 8, 16, 32]
        maps = feature_maps(self.head_cfg.in_channels, strides, size, batch)
        return [x.to(self.device) for x in maps]

    def _images(self, size: Size, batch: int) -> Tensor:
        preprocessor = self.model.data_preprocessor
        return images(size, batch, preprocessor.mean.cpu(), preprocessor.std.cpu()).to(self.device)
