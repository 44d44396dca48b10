"""Losses whose gradients are made in the forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class EagerGradient(torch.autograd.Function):
    """Two losses of one tensor, whose gradients are kept in place of all they are made from.

    A gradient of losses at points is as large as the masks, while what autograd would keep of each
    loss until the backward pass is six numbers per point. Every loss stays free to be weighted on
    its own: a gradient is kept for each.

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
