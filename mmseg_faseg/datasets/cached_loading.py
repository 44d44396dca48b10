"""MMSegmentation's loading transforms, which decode a file once and keep what came out."""

import cv2
import PIL
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from .array_cache import ArrayCache

_MAX_BYTES = 32 * 2**30
# Another version of a decoder may give other pixels.
_DECODERS = (cv2.__version__, PIL.__version__)


@TRANSFORMS.register_module()
class CachedLoadImageFromFile(LoadImageFromFile):
    """``LoadImageFromFile`` with a cache; the results are the same to the bit.

    Files that are not in the file system (other storage back ends) are loaded as always.

    Args:
        cache_dir: Folder of the decoded images; several data sets and processes may share it.
        max_bytes: Upper limit of that folder's size.
        **kwargs: What ``LoadImageFromFile`` takes.

    Raises:
        UserError: Nothing can be written to ``cache_dir``.
    """

    def __init__(self, cache_dir: str, max_bytes: int = _MAX_BYTES, **kwargs) -> None:
        super().__init__(**kwargs)
        self.cache = ArrayCache(cache_dir, max_bytes)
        self._settings = (repr(self), _DECODERS)

    def transform(self, results: dict) -> dict | None:
        """Adds ``img`` (H, W, 3), ``img_shape`` and ``ori_shape``."""
        file = self.cache.file_for(results['img_path'], *self._settings)
        image = None if file is None else self.cache.read(file)
        if image is None:
            loaded = super().transform(results)
            if file is not None and loaded is not None:
                self.cache.write(file, loaded['img'])
            return loaded
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class CachedLoadAnnotations(LoadAnnotations):
    """``LoadAnnotations`` with a cache; the results are the same to the bit.

    Label maps are kept as they come out of it, with ``reduce_zero_label`` and the choice of
    classes applied: a data set that asks for others gets its own.

    Args:
        cache_dir: Folder of the decoded label maps; may be that of the images.
        max_bytes: Upper limit of that folder's size.
        **kwargs: What ``LoadAnnotations`` takes.

    Raises:
        UserError: Nothing can be written to ``cache_dir``.
    """

    def __init__(self, cache_dir: str, max_bytes: int = _MAX_BYTES, **kwargs) -> None:
        super().__init__(**kwargs)
        self.cache = ArrayCache(cache_dir, max_bytes)
        # As constructed: LoadAnnotations notes the data set's `reduce_zero_label` in itself.
        self._settings = (repr(self), _DECODERS)

    def _load_seg_map(self, results: dict) -> None:
        """Adds ``gt_seg_map`` (H, W) uint8, and its name to ``seg_fields``."""
        choices = (results['reduce_zero_label'], results.get('label_map'))
        file = self.cache.file_for(results['seg_map_path'], *self._settings, *choices)
        labels = None if file is None else self.cache.read(file)
        if labels is None:
            super()._load_seg_map(results)
            if file is not None:
                self.cache.write(file, results['gt_seg_map'])
            return
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')
