"""Image-side positional encoding K_p."""

from collections.abc import Sequence

from mmdet.models.layers import SinePositionalEncoding
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from ...registry import register


@register
class ConditionalPositionalEncoding(BaseModule):
    """K_p that depends on the image: a depthwise 3 x 3 convolution of each level's features.

    What FASeg's published models use in place of Mask2Former's sinusoid
    (:class:`mmdet.models.SinePositionalEncoding`, which the pixel decoder takes as well).

    Args:
        embed_dims (int): Width C.
        num_levels (int): Number of feature levels, each with a convolution of its own.
        add_sinusoid (bool): Whether to add Mask2Former's sinusoid, normalised as there. Not in the
            paper.
    """

    def __init__(
        self, embed_dims: int = 256, num_levels: int = 4, add_sinusoid: bool = False
    ) -> None:
        super().__init__()
        self.sinusoid = None
        if add_sinusoid:
            self.sinusoid = SinePositionalEncoding(embed_dims // 2, normalize=True)
        self.convs = ModuleList(
            nn.Conv2d(embed_dims, embed_dims, kernel_size=3, padding=1, groups=embed_dims)
            for _ in range(num_levels)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Encodes the positions of every level.

        Args:
            features: One projected map (B, C, H_l, W_l) per level.

        Returns:
            K_p of every level, (B, C, H_l, W_l) each.

        Raises:
            ValueError: If there are more or fewer maps than levels.
        """
        if len(features) != len(self.convs):
            raise ValueError(
                f'features must have {len(self.convs)} levels (num_levels), got {len(features)}'
            )
        encodings = [conv(x) for conv, x in zip(self.convs, features, strict=True)]
        if self.sinusoid is None:
            return encodings
        return [x + self.sinusoid(None, x[:1]) for x in encodings]
