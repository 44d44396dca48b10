"""Images and label maps in folders, as people have them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
LABEL_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff')
_NO_CLASS = 254  # what label values that stand for no class become: the data check refuses it


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Pairs an image with the label map of the same name, whatever the suffix of each.

    Below their folders both may lie in folders of their own. ``ann_file`` lists the names of a
    part, a line each, without suffix; without it all images that have a label map are taken, and
    in test mode those without too.

    Args:
        seg_map_suffix: What the names of label maps have after those of their images, before the
            file's own suffix: ``'_mask'`` for ``a_mask.png`` beside ``a.jpg``.
        label_values: For each class the value of its pixels in the label maps, where that is not
            the class's number: ``[0, 255]`` for maps in black and white. 255 is ignored where it
            stands for no class, and the data check refuses all other values.
        **kwargs: What :class:`mmseg.datasets.BaseSegDataset` takes, but for
            ``img_suffix``.

    Raises:
        ValueError: ``label_values`` does not fit the classes.
    """

    def __init__(
        self, seg_map_suffix: str = '', label_values: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        lazy = kwargs.pop('lazy_init', False)
        kwargs |= dict(img_suffix='', seg_map_suffix=seg_map_suffix, lazy_init=True)
        super().__init__(**kwargs)
        if label_values is not None:
            self._metainfo['label_map'] = self.label_map = self._map_of(list(label_values))
        if not lazy:
            self.full_init()

    def _map_of(self, values: list[int]) -> dict[int, int]:
        count = len(self.metainfo.get('classes') or ())
        if len(values) != count or len(set(values)) != count or not set(values) <= set(range(256)):
            raise ValueError(
                f'label_values must be one value from 0 to 255 for each of {count} classes, '
                f'all different, got {values}'
            )
        unused = {value: _NO_CLASS for value in range(count) if value not in values}
        return unused | {value: label for label, value in enumerate(values)}

    def load_data_list(self) -> list[dict]:
        """Lists the pairs in the order of their names, or of the file that names them."""
        images = files_by_name(self.data_prefix['img_path'], IMAGE_SUFFIXES)
        folder = self.data_prefix.get('seg_map_path')
        labels = files_by_name(folder, LABEL_SUFFIXES) if folder else {}
        if self.ann_file:
            text = Path(self.ann_file).read_text(encoding='utf-8', errors='surrogateescape')
            names = [line.strip() for line in text.splitlines()]
            wanted = [name for name in names if name]
        else:
            named = (name for name in images if name + self.seg_map_suffix in labels)
            wanted = list(images) if self.test_mode else list(named)
        return [
            self._entry(images.get(name, name), labels.get(name + self.seg_map_suffix))
            for name in wanted
        ]

    def _entry(self, image: str, labels: str | None) -> dict:
        entry = dict(
            img_path=os.path.join(self.data_prefix['img_path'], image),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )
        if labels is not None:
            entry['seg_map_path'] = os.path.join(self.data_prefix['seg_map_path'], labels)
        return entry


def files_by_name(folder: str | Path, suffixes: Sequence[str]) -> dict[str, str]:
    """Files below a folder by their path in it without suffix, sorted; hidden ones are left out.

    Of several with one name, such as ``a.jpg`` and ``a.png``, the last by name is given.
    """
    found = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for file in sorted(files):
            path = Path(parent, file).relative_to(folder)
            if path.suffix.lower() in suffixes and not file.startswith('.'):
                found[str(path.with_suffix(''))] = str(path)
    return dict(sorted(found.items()))
