import numpy as np
from mmcv.transforms import Resize
from mmseg.datasets.transforms import ResizeShortestEdge
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AntialiasedResizeShortestEdge(ResizeShortestEdge):
    """Resize by the shortest edge as FASeg was trained and tested: PIL's antialiased bilinear.

    Image by bilinear interpolation over the whole footprint of a pixel, label map by nearest.
    MMSegmentation's ``ResizeShortestEdge`` interpolates between four pixels, which drops
    detail when an image shrinks, and takes labels from half a new pixel further to the top left.
    Where ``max_size`` limits an image, it rounds a second time to keep the aspect ratio, and the
    longest edge may end some pixels below ``max_size``.

    Args:
        scale (int or tuple[int]): Length of the shortest edge in pixels (of a tuple the
            minimum).
        max_size (int): The longest edge does not exceed this; where it would, both shrink.
    """

    def __init__(self, scale: int | tuple[int, int], max_size: int) -> None:
        super().__init__(scale, max_size)
        self.resize = Resize(scale=scale, keep_ratio=False, backend='pillow')

    def _get_output_shape(
        self, img: np.ndarray, short_edge_length: int | tuple[int, int]
    ) -> tuple[int, int]:
        width, height = super()._get_output_shape(img, short_edge_length)
        return max(width, 1), max(height, 1)  # of a strip of pixels

    def transform(self, results: dict) -> dict:
        """Resize ``img`` (H, W, 3) uint8 and, where there is one, ``gt_seg_map`` (H, W) uint8.

        Raises:
            TypeError: ``img`` is not uint8; PIL resizes no others.
        """
        if results['img'].dtype != np.uint8:
            raise TypeError(
                f'AntialiasedResizeShortestEdge got img of {results["img"].dtype}, needs uint8: '
                'put it before transforms that make floats (LoadImageFromFile(to_float32=True))'
            )
        return super().transform(results)
