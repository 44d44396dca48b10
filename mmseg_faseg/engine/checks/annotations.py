"""What can be wrong with the annotation file of a COCO data set or all of its images.

Each check is a generator of what it finds and has the check's name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mmdet.datasets import CocoPanopticDataset
from mmengine.dataset import BaseDataset

from .annotation_file import Annotations
from .datasets import absent_names, names_problem
from .reading import Seen
from .segments import ExpectedSegments

_SHOWN = 10  # names in a line


def class_names(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Classes are a list of names."""
    classes, name = found.dataset.metainfo.get('classes'), type(found.dataset).__name__
    yield from names_problem(classes, name, "('car', 'person')")


def categories(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Classes are categories of the annotation file, in its order."""
    classes = found.dataset.metainfo.get('classes')
    if found.categories is None or isinstance(classes, str) or not classes:
        return
    names = [one['name'] for one in found.categories]
    if list(classes) == names:
        return
    absent = [name for name in classes if name not in names]
    if absent:
        yield (
            f'{type(found.dataset).__name__}: class {_some(absent)} is no category of '
            f'{found.name}, which has {_some(found.names)}: name classes as the file does, and '
            'no others'
        )
    elif not _stuff_before_things(found):  # for which the file has to change
        yield (
            f'{type(found.dataset).__name__}: MMDetection numbers classes as {found.name} lists '
            f'them, {_some(names)}, but metainfo.classes is {_some(classes)}: write them in the '
            "file's order"
        )


def things_and_stuff(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """The model has the data set's numbers of classes of things and of stuff."""
    is_thing = _things(found)
    classes = found.dataset.metainfo.get('classes') or ()
    if len(is_thing) != len(classes):  # `categories` says why
        return
    things, stuff = sum(is_thing), len(is_thing) - sum(is_thing)
    if (things, stuff) != (expected.num_things, expected.num_stuff):
        head = expected.head if expected.head != 'model' else 'model.bbox_head'
        yield (
            f'{type(found.dataset).__name__}: of its classes, {things} are things and {stuff} '
            f'stuff, but {head} has num_things_classes={expected.num_things} and '
            f'num_stuff_classes={expected.num_stuff}. Set {head}.num_things_classes={things} and '
            f'{head}.num_stuff_classes={stuff} in the config, and what else has these numbers '
            "(panoptic_fusion_head and class_weight of MMDetection's models)."
        )


def things_first(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Classes of things come before those of stuff."""
    names = _stuff_before_things(found)
    if names:
        yield (
            f'{found.name} lists {names[0]!r}, which is stuff, before {names[1]!r}, which is a '
            'thing: label ids of things have to come first, so move its categories of stuff '
            'to the end, and metainfo.classes with them'
        )


def iscrowd(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Objects to evaluate on say whether they are a crowd."""
    if found.without_iscrowd and found.dataset.test_mode:
        yield (
            f"{found.name}: {found.without_iscrowd} of its objects have no 'iscrowd', which "
            "metrics of COCO look up: add 'iscrowd': 0, or 1 for a crowd"
        )


def other_categories(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Every category of the annotation file is a class."""
    if found.others:
        some = ', '.join(f'{n} of {name!r}' for name, n in found.others.most_common(_SHOWN))
        more = f' and {len(found.others) - _SHOWN} more' if len(found.others) > _SHOWN else ''
        yield (
            f'{found.name} has objects of categories that are no classes of '
            f'{type(found.dataset).__name__}, which are left out: {some}{more}'
        )


def left_out_objects(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Every object has an area, and a box of a pixel or more, inside its image."""
    if found.left_out:
        yield (
            f'{found.name}: MMDetection leaves out {len(found.left_out)} of its objects, such as '
            f'{found.left_out[0]}'
        )


def left_out_images(found: Annotations, expected: ExpectedSegments) -> Iterator[str]:
    """Every image of the annotation file is one of the data set."""
    dataset: Any = found.dataset
    count = len(found.images) - len(dataset)
    filtered = getattr(dataset, 'filter_cfg', None) and not dataset.test_mode
    if not filtered or dataset._indices is not None or count < 1:
        return
    kept = {dataset.get_data_info(place)['img_id'] for place in range(len(dataset))}
    left = next(file for number, file in found.images.items() if number not in kept)
    what = 'thing' if isinstance(dataset, CocoPanopticDataset) else 'object'
    settings = dict(dataset.filter_cfg)
    yield (
        f'filter_cfg={settings} leaves out {count} of {len(found.images)} images of {found.name}, '
        f'such as {left}: those without a {what} (filter_empty_gt), and small ones (min_size)'
    )


def num_queries(images: Sequence[Seen], expected: ExpectedSegments) -> Iterator[str]:
    """No image has more segments than the model has queries."""
    counts = [_with_queries(one, expected) for one in images]
    more = sum(count > expected.num_queries for count in counts)
    if more:
        most = max(range(len(images)), key=counts.__getitem__)
        what = 'image has' if more == 1 else 'images have'
        yield (
            f'{more} {what} more segments than {expected.head}.num_queries='
            f'{expected.num_queries}, up to {counts[most]} in {images[most].image}: the rest is '
            f'neither learnt nor found; num_queries should be {counts[most]} or more'
        )


def images_without_objects(images: Sequence[Seen], expected: ExpectedSegments) -> Iterator[str]:
    """Every image has an object or stuff."""
    empty = [one.image for one in images if one.labelled and not one.counts]
    if empty:
        yield (
            f'{len(empty)} of {len(images)} images show no object and no stuff, such as '
            f'{empty[0]}: everything there counts as background'
        )


def absent_classes(
    datasets: Sequence[BaseDataset],
    counts: Counter[int],
    expected: ExpectedSegments,
    files: int,
) -> str | None:
    """As that of ``datasets.py``, of objects and segments."""
    absent = absent_names(datasets, counts, expected.num_classes)
    if not absent or not files:
        return None
    kinds = ' and '.join(sorted({type(dataset).__name__ for dataset in datasets}))
    return f'{absent} no object or segment in any of {files} images of {kinds}'


def shown_classes(counts: Counter[int], expected: ExpectedSegments, files: int) -> str:
    """What was counted, in words."""
    return f'{files} images show {counts.total()} segments of all {expected.num_classes} classes'


def _things(found: Annotations) -> list[bool]:
    """Which labels are things: in panoptic data the file says, others have nothing else."""
    panoptic = isinstance(found.dataset, CocoPanopticDataset)
    return [not panoptic or bool(one.get('isthing')) for one in found.categories or ()]


def _stuff_before_things(found: Annotations) -> tuple[str, str] | None:
    """The first class of stuff and a thing that comes after it, if there are any."""
    pairs = list(zip(found.categories or (), _things(found), strict=True))
    stuff = next((place for place, (_, thing) in enumerate(pairs) if not thing), len(pairs))
    after = (one['name'] for one, thing in pairs[stuff:] if thing)
    return next(((pairs[stuff][0]['name'], name) for name in after), None)


def _with_queries(seen: Seen, expected: ExpectedSegments) -> int:
    return sum(n for label, n in seen.counts.items() if label < expected.with_queries)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return f'({", ".join(map(repr, names[:_SHOWN]))}{more})'


Check = Callable[[Annotations, ExpectedSegments], Iterator[str]]
REFUSED: tuple[Check, ...] = (
    class_names,
    categories,
    things_and_stuff,
    things_first,
    iscrowd,
)
WARNED: tuple[Check, ...] = (other_categories, left_out_objects, left_out_images)
WARNED_TOGETHER = (num_queries, images_without_objects)
