"""What can be wrong with whole data sets, and between those of training and validation.

Each check is a generator of what it finds and has the check's name.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from .pairs import Expected

_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.npy')
_SHOWN = 10  # names in a line


def class_names(dataset: BaseDataset, expected: Expected) -> Iterator[str]:
    """Classes are a list of names."""
    yield from names_problem(dataset.metainfo.get('classes'), type(dataset).__name__)


def names_problem(
    classes: object, name: str, example: str = "('background', 'car')"
) -> Iterator[str]:
    """What is wrong with the classes of a data set called ``name``."""
    advice = f'write metainfo=dict(classes={example}), with all of them'
    if isinstance(classes, str):
        yield f"classes of {name} is a string, '{classes}' (is a comma missing?): {advice}"
    elif not classes:
        yield f'{name} has no names of classes: {advice}'


def num_classes(dataset: BaseDataset, expected: Expected) -> Iterator[str]:
    """The model has the data set's number of classes, two or more."""
    classes, name = dataset.metainfo.get('classes'), type(dataset).__name__
    if isinstance(classes, str) or not classes:
        return
    if len(classes) == 1:
        yield (
            f'{name} has one class, {classes[0]!r}, and a class map says for every pixel which '
            f"class it is: name what is none, as in classes=('background', {classes[0]!r}), write "
            'ids 0 and 1 to the label maps and set model.decode_head.num_classes=2'
        )
    elif len(classes) != expected.num_classes:
        yield (
            f'{name} has {len(classes)} classes, but model.decode_head.num_classes is '
            f'{expected.num_classes}. Set model.decode_head.num_classes={len(classes)} in the '
            'config (and nothing else).'
        )


def ignored_class(dataset: BaseDataset, expected: Expected) -> Iterator[str]:
    """The ignored label is none of the classes."""
    if 0 <= expected.ignore_index < expected.num_classes:
        yield (
            f'model.decode_head.ignore_index is {expected.ignore_index}, which is one of its '
            f'{expected.num_classes} classes: choose a label that is none, such as '
            f'{expected.num_classes} or more.'
        )


def unused_files(dataset: BaseDataset, expected: Expected) -> Iterator[str]:
    """The folder of images has none that the data set leaves out by their suffix."""
    suffix = getattr(dataset, 'img_suffix', None)
    folder = (getattr(dataset, 'data_prefix', None) or {}).get('img_path')
    if not isinstance(suffix, str) or dataset.ann_file or not folder or not os.path.isdir(folder):
        return
    used, labels = Path(f'x{suffix}').suffix, getattr(dataset, 'seg_map_suffix', suffix)
    others: Counter[str] = Counter()
    for _, _, files in os.walk(folder):
        for file in files:
            own = Path(file).suffix
            if own != used and own.lower() in _IMAGES and not file.endswith(labels):
                others[own] += 1
    if others:
        found = ', '.join(f'{count} *{own}' for own, count in sorted(others.items()))
        yield f'{folder} has {found}, which {type(dataset).__name__} leaves out: it takes *{suffix}'


def class_order(train: BaseDataset, other: BaseDataset) -> Iterator[str]:
    """Training and validation mean the same by an id."""
    classes, others = (list(dataset.metainfo.get('classes') or ()) for dataset in (train, other))
    for label, (mine, theirs) in enumerate(zip(classes, others, strict=False)):
        if mine != theirs:
            yield (
                f'class {label} is {mine!r} in training ({type(train).__name__}), but {theirs!r} '
                f'in validation ({type(other).__name__})'
            )
            return


def zero_label(train: BaseDataset, other: BaseDataset) -> Iterator[str]:
    """Training and validation agree on whether id 0 is ignored."""
    mine, theirs = (bool(getattr(data, 'reduce_zero_label', None)) for data in (train, other))
    if mine != theirs:
        yield f'reduce_zero_label is {mine} in training, but {theirs} in validation'


def train_in_val(train: BaseDataset, other: BaseDataset) -> Iterator[str]:
    """No image is trained on and validated on."""
    shared = _image_paths(train) & _image_paths(other)
    if shared:
        yield (
            f'{len(shared)} images are both trained on and validated on, such as {min(shared)}: '
            'the metric will be too good'
        )


def absent_classes(
    datasets: Sequence[BaseDataset], counts: Counter[int], expected: Expected, files: int
) -> str | None:
    """Every class has pixels.

    Args:
        datasets: Those of a loop; a class may be in one of them.
        counts: Pixels of each label id.
        expected: What the model takes.
        files: Label maps that were counted.
    """
    absent = absent_names(datasets, counts, expected.num_classes)
    if not absent or not files:
        return None
    text = (
        f'{absent} no pixel in any of {files} label maps of '
        f'{" and ".join(sorted({type(dataset).__name__ for dataset in datasets}))}; '
        f'{ignored_share(counts, expected)}'
    )
    if any(getattr(dataset, 'reduce_zero_label', False) for dataset in datasets):
        text += '; reduce_zero_label=True ignores id 0 and lowers the others by one: is 0 a class?'
    elif expected.ignore_index == 255 and counts[255]:
        text += '; if 255 stands for a class, write its id to the label maps'
    return text


def absent_names(datasets: Sequence[BaseDataset], counts: Counter[int], num_classes: int) -> str:
    """Classes that do not occur, in words, as subject of a sentence; empty if all do."""
    absent = [label for label in range(num_classes) if not counts[label]]
    names = datasets[0].metainfo.get('classes') or () if datasets else ()
    shown = [f'{names[label]!r} (id {label})' for label in absent[:_SHOWN] if label < len(names)]
    more = f' and {len(absent) - _SHOWN} more' if len(absent) > _SHOWN else ''
    what, verb = ('class', 'has') if len(absent) == 1 else ('classes', 'have')
    return f'{what} {", ".join(shown)}{more} {verb}' if absent else ''


def shown_classes(counts: Counter[int], expected: Expected, files: int) -> str:
    """What was counted, in words."""
    share = ignored_share(counts, expected)
    return f'{files} label maps show all {expected.num_classes} classes; {share}'


def ignored_share(counts: Counter[int], expected: Expected) -> str:
    """How much is ignored, in words."""
    share = counts[expected.ignore_index] / max(counts.total(), 1)
    return f'{share:.1%} of all pixels are ignored ({expected.ignore_index})'.replace('%', ' %')


def _image_paths(dataset: BaseDataset) -> set[str]:
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return {os.path.realpath(info['img_path']) for info in infos if 'img_path' in info}


REFUSED: tuple[Callable[[BaseDataset, Expected], Iterator[str]], ...] = (
    class_names,
    num_classes,
    ignored_class,
)
WARNED: tuple[Callable[[BaseDataset, Expected], Iterator[str]], ...] = (unused_files,)
WARNED_BETWEEN: tuple[Callable[[BaseDataset, BaseDataset], Iterator[str]], ...] = (
    class_order,
    zero_label,
    train_in_val,
)
