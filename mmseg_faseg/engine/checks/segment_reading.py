"""Reads images with their objects or segments as training does, and checks each of them."""

import os
from collections import Counter
from typing import Any

import mmcv
import numpy as np
from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations
from mmengine import fileio

from ...datasets.broken_files import damage
from .annotation_file import areas_of_segments
from .reading import Reader, Seen, UnreadableError
from .segments import REFUSED, WARNED, Segments


class SegmentReader(Reader):
    """Reads and checks images with the objects or segments that MMDetection's loaders take.

    Arguments as of :class:`.reading.Reader`.
    """

    annotations = 'segments'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        loaders = [step for step in self.steps if isinstance(step, LoadAnnotations)]
        self.loader = loaders[-1] if loaders else None
        self._said_areas = areas_of_segments(self.dataset) or {}

    def settings(self) -> tuple:
        """What the annotation file says, and which label a category gets."""
        dataset, file = self.dataset, str(self.dataset.ann_file)
        stamp = os.stat(file) if os.path.isfile(file) else None
        written = stamp and (stamp.st_mtime_ns, stamp.st_size)
        return file, written, dataset.metainfo.get('classes'), getattr(dataset, 'cat_ids', None)

    def look(self, info: dict) -> Seen:
        """Reads and checks an image; a check that finds why a transform fails says it better."""
        results: dict = {}
        failure, size = None, None
        try:
            for _, after in self.run(info):
                results = after or results
                if size is None and isinstance(results.get('img'), np.ndarray):
                    size = results.get('ori_shape', results['img'].shape[:2])
        except UnreadableError as error:
            failure = error
        if failure and (size is None or damage(info)):
            raise failure
        if size is None:
            return Seen(labelled=False)
        segments = self._segments(info, results, size)
        seen = self.judge(segments, REFUSED, WARNED)
        if seen.problem:
            return seen
        if failure:
            raise failure
        seen.counts = dict(Counter(segments.labels.tolist()))
        seen.labelled = 'gt_bboxes_labels' in results
        same_size = results['img'].shape[:2] == tuple(size)
        seen.whole = same_size or self.loader is self.steps[-1]  # nothing has cut the image
        return seen

    def _segments(self, info: dict, results: dict, size: tuple[int, int]) -> Segments:
        with_masks = self.loader is not None and self.loader.with_mask
        return Segments(
            info,
            results['img'],
            size,
            str(self.dataset.ann_file),
            self.dataset.metainfo.get('classes') or (),
            info.get('instances', []) if with_masks else [],
            self._ids(info),
            self._said_areas.get(info.get('img_id'), {}),
            getattr(results.get('gt_masks'), 'areas', None),
            self._labels(results),
        )

    def _ids(self, info: dict) -> np.ndarray | None:
        """Of the panoptic PNG, as MMDetection's loader takes them."""
        file = info.get('seg_map_path')
        if not isinstance(self.loader, LoadPanopticAnnotations) or file is None:
            return None
        content = fileio.get(file, backend_args=self.loader.backend_args)
        return self.loader.rgb2id(mmcv.imfrombytes(content, flag='color', channel_order='rgb'))

    def _labels(self, results: dict) -> np.ndarray:
        """Classes of objects that are not ignored, and of the stuff that an image shows."""
        things = np.asarray(results.get('gt_bboxes_labels', ()), np.int64)
        things = things[~np.asarray(results.get('gt_ignore_flags', np.zeros(len(things))), bool)]
        shown = np.unique(results.get('gt_seg_map', ()))
        first, last = self.expected.num_things, self.expected.num_classes
        return np.concatenate([things, shown[(shown >= first) & (shown < last)]]).astype(np.int64)
