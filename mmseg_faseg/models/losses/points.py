"""Random points on masks: drawing them in MMDetection's order, and reading maps at them.

Points are (x, y) as fractions of width and height, as in MMDetection and PointRend. Maps are read
bilinearly and are 0 outside, as ``mmcv.ops.point_sample`` reads them by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from torch import Tensor

# Bounds the memory for candidates, which are three times as many as the points of the losses.
_MASKS_AT_A_TIME = 64


class SharedPoints:
    """Points at which all channels of a map are read alike.

    A point's value is a weighted sum of four pixels. Over a table of pixels that is
    ``embedding_bag``, which reads all channels of a pixel in one piece; ``grid_sample`` reads them
    one by one, and on CPU takes more than ten times as long.

    Args:
        points (Tensor): (P, 2).
        size (Sequence[int]): Height and width of the map.
    """

    def __init__(self, points: Tensor, size: Sequence[int]) -> None:
        height, width = size
        x, x_weights = _neighbours(points[:, 0], width)
        y, y_weights = _neighbours(points[:, 1], height)
        self.pixels = (y[:, :, None] * width + x[:, None]).flatten(1)
        self.weights = (y_weights[:, :, None] * x_weights[:, None]).flatten(1)

    def sample(self, table: Tensor) -> Tensor:
        """Reads a map.

        Args:
            table: Its pixels row by row, (H W, C).

        Returns:
            Its values at the points, (P, C).
        """
        weights = self.weights.to(table.dtype)
        return F.embedding_bag(self.pixels, table, mode='sum', per_sample_weights=weights)

    def sample_constant(self) -> Tensor:
        """Values (P,) of a map of ones: less than 1 within half a pixel of the border."""
        return self.weights.sum(1)


def _neighbours(coords: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The two pixels next to each coordinate (P,) on an axis, and their weights, (P, 2)."""
    position = coords * size - 0.5
    low = position.floor()
    share = position - low
    pixels = torch.stack([low, low + 1], 1)
    weights = torch.stack([1 - share, share], 1) * ((pixels >= 0) & (pixels < size))
    return pixels.clamp(0, size - 1).long(), weights


@dataclass
class LossPoints:
    """Which points of a mask its losses see (PointRend, section 3.1, and Mask2Former).

    Attributes:
        num_points: Points P per mask.
        oversample_ratio: Random candidates per point.
        importance_sample_ratio: Share of the points that are the most uncertain candidates, those
            with the smallest absolute logits; the others are random.
    """

    num_points: int
    oversample_ratio: float
    importance_sample_ratio: float

    def draw(self, num_masks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws the candidates and the random points, each (N, ..., 2), of so many masks."""
        num_candidates = int(self.num_points * self.oversample_ratio)
        num_random = self.num_points - self._num_uncertain
        candidates, random = (
            torch.rand(num_masks, n, 2, generator=generator, device=generator.device)
            for n in (num_candidates, num_random)
        )
        return candidates, random

    @torch.no_grad()
    def choose(self, mask_logits: Tensor, generator: torch.Generator) -> Tensor:
        """Draws and chooses.

        Args:
            mask_logits: (N, H, W).
            generator: What to draw with.

        Returns:
            (N, P, 2), in the logits' type.
        """
        candidates, random = (
            x.to(mask_logits.dtype) for x in self.draw(len(mask_logits), generator)
        )
        chosen = [
            self._most_uncertain(*some)
            for some in zip(
                mask_logits.split(_MASKS_AT_A_TIME), candidates.split(_MASKS_AT_A_TIME), strict=True
            )
        ]
        return torch.cat([torch.cat(chosen), random], 1)

    def _most_uncertain(self, mask_logits: Tensor, candidates: Tensor) -> Tensor:
        uncertainty = sample_each(mask_logits, candidates).abs_()
        # Losses are sums over points, so their order is left to chance, which is faster.
        best = uncertainty.topk(self._num_uncertain, largest=False, sorted=False).indices
        return candidates.gather(1, best[..., None].expand(-1, -1, 2))

    @property
    def _num_uncertain(self) -> int:
        return int(self.importance_sample_ratio * self.num_points)


def sample_each(maps: Tensor, points: Tensor) -> Tensor:
    """Values (N, P) of maps (N, H, W), each at its own points (N, P, 2)."""
    return point_sample(maps[:, None], points)[:, 0]


@dataclass
class PointDraws:
    """All random points of a training step, as MMDetection would draw them one by one.

    It matches and supervises one prediction after the other, so between the matching points of
    two predictions come the loss points of the first, which are ten times as many. Here all
    predictions are matched first: loss points are skipped, and drawn again when they are needed.

    Attributes:
        matching: (L, B, P, 2), shared by all masks of an image.
        states: State of the random generator before the loss points of each prediction.
    """

    matching: Tensor
    states: list[Tensor]

    @classmethod
    def draw(
        cls,
        num_layers: int,
        num_images: int,
        num_masks: int,
        rule: LossPoints,
        device: torch.device,
    ) -> 'PointDraws':
        """Draws with the device's default generator, which ends where MMDetection leaves it.

        Args:
            num_layers: Number of predictions L.
            num_images: Number of images B.
            num_masks: How many masks of all images will be matched in each prediction.
            rule: How many points a mask has.
            device: Where the points are to be.
        """
        generator = default_generator(device)
        matching, states = [], []
        for _ in range(num_layers):
            for _ in range(num_images):
                matching.append(torch.rand(rule.num_points, 2, device=device))
            states.append(generator.get_state())
            rule.draw(num_masks, generator)
        return cls(torch.stack(matching).unflatten(0, (num_layers, num_images)), states)

    def generator(self, layer: int) -> torch.Generator:
        """A generator about to draw the loss points of one prediction."""
        generator = torch.Generator(self.matching.device)
        generator.set_state(self.states[layer])
        return generator


def default_generator(device: torch.device) -> torch.Generator:
    """What PyTorch's functions draw with on a device."""
    if device.type == 'cpu':
        return torch.default_generator
    return torch.cuda.default_generators[device.index]
