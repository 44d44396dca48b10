"""What the back ends of the deformable attention are fed, and MMCV's reference."""

import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from mmseg_faseg.models.ops.deformable_attention import DeformableSelfAttention, Geometry

HEADS, POINTS, DIM = 2, 3, 4
SIZES = ((3, 4), (5, 8), (1, 2))
TOKENS = sum(h * w for h, w in SIZES)


def arguments(dtype=torch.float64, batch=2, queries=TOKENS, device='cpu'):
    """Value, geometry, positions within and beyond the levels, weights."""
    torch.manual_seed(0)
    geometry = Geometry.of(SIZES, HEADS, POINTS, torch.empty(0, dtype=dtype, device=device))
    value = torch.randn(batch, TOKENS, HEADS, DIM, dtype=dtype, device=device)
    shape = batch, queries, 2, HEADS, len(SIZES), POINTS
    share = torch.rand(shape, dtype=dtype, device=device) * 2 - 0.5
    positions = share * geometry.extents[:, None, :, None]
    weights = torch.randn(shape[:2] + shape[3:], dtype=dtype, device=device)
    return value, geometry, positions, weights


def mmcvs(value, geometry, positions, weights):
    sizes = torch.tensor(SIZES, device=value.device)
    locations = geometry.normalised(positions)
    return multi_scale_deformable_attn_pytorch(value, sizes, locations, weights)


def output_and_gradients(sample, arguments):
    value, geometry, positions, weights = arguments
    leaves = [x.clone().requires_grad_() for x in (value, positions, weights)]
    out = sample(leaves[0], geometry, *leaves[1:])
    torch.manual_seed(1)
    return [out, *torch.autograd.grad((out * torch.randn_like(out)).sum(), leaves)]


def like_stock(attn):
    """Our module with the weights of MMCV's."""
    ours = DeformableSelfAttention(
        attn.embed_dims,
        attn.num_heads,
        attn.num_levels,
        attn.num_points,
        dropout=0.0,
        batch_first=True,
    )
    ours.load_state_dict(attn.state_dict())
    return ours.to(attn.value_proj.weight)
