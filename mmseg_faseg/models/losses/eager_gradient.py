"""Losses whose gradients are made in the forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class EagerGradient(torch.autograd.Function):
    """Two losses of one tensor, whose gradients are kept in place of all they are made from.

    Two gradients are as large as the masks twice, at 1/4 of the image; what autograd would keep
    until the backward pass are the masks and six numbers per point. That is more up to images of
    about a megapixel. Every loss stays free to be weighted on its own: a gradient is kept for each.

    ``EagerGradient.apply(x, losses_of)`` returns what ``losses_of(x)`` does, two tensors of one
    element each.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, losses_of: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        if not ctx.needs_input_grad[0]:
            return losses_of(x)
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            first, second = losses_of(leaf)
            (first_grad,) = torch.autograd.grad(first.sum(), leaf, retain_graph=True)
            (second_grad,) = torch.autograd.grad(second.sum(), leaf)
        ctx.save_for_backward(first_grad, second_grad)
        return first.detach(), second.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, first: Tensor, second: Tensor) -> tuple[Tensor, None]:
        first_grad, second_grad = ctx.saved_tensors
        return (first_grad * first).addcmul_(second_grad, second), None
