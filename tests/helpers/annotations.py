"""The same annotation in the formats of several labelling tools."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

Shapes = Sequence[tuple[str, Sequence[tuple[float, float]]]]  # classes and outlines, bottom first


def write_image(path: Path, size: tuple[int, int], orientation: int = 1) -> None:
    """A grey picture of a width and height, with EXIF's tag of how it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', size, (120, 120, 120)).save(path, exif=exif)


def labelme(
    folder: Path, name: str, size: tuple[int, int] | None, shapes: Sequence[dict], **more
) -> Path:
    """LabelMe's file of the image ``name``."""
    path = folder / Path(name).with_suffix('.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size or (None, None)
    content = dict(version='5.5.0', flags={}, shapes=list(shapes), imagePath=Path(name).name)
    content |= dict(imageData=None, imageHeight=height, imageWidth=width)
    path.write_text(json.dumps(content | more))
    return path


def labelme_shape(label: str, points: Sequence, kind: str = 'polygon', **more) -> dict:
    """A shape of LabelMe."""
    return dict(label=label, points=[list(p) for p in points], shape_type=kind, group_id=1) | more


def labelme_shapes(shapes: Shapes) -> list[dict]:
    """Outlines as LabelMe has them."""
    return [labelme_shape(name, points) for name, points in shapes]


def coco(
    path: Path, images: dict[str, tuple[int, int]], entries: dict[str, Sequence[tuple[str, object]]]
) -> Path:
    """A COCO file: by image the class and segmentation of its objects."""
    names = list(dict.fromkeys(name for some in entries.values() for name, _ in some))
    numbers = {name: 10 * (place + 1) for place, name in enumerate(names)}  # with gaps, as COCO's
    content = dict(
        categories=[dict(id=number, name=name) for name, number in numbers.items()],
        images=[
            dict(id=place, file_name=name, width=width, height=height)
            for place, (name, (width, height)) in enumerate(images.items())
        ],
        annotations=[
            dict(
                id=100 * place + number,
                image_id=place,
                category_id=numbers[label],
                segmentation=segmentation,
                iscrowd=int(isinstance(segmentation, dict)),
            )
            for place, name in enumerate(images)
            for number, (label, segmentation) in enumerate(entries.get(name, ()))
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def coco_outlines(shapes: Shapes) -> list[tuple[str, object]]:
    """Outlines as COCO has them."""
    return [(name, [np.ravel(points).tolist()]) for name, points in shapes]


def yolo(
    folder: Path, name: str, size: tuple[int, int], shapes: Shapes, classes: list[str]
) -> Path:
    """YOLO's file of the image ``name``, with the names of the classes beside it."""
    path = folder / 'labels' / Path(name).with_suffix('.txt')
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        ' '.join(map(repr, [classes.index(label), *(np.array(points) / size).ravel().tolist()]))
        for label, points in shapes
    ]
    path.write_text('\n'.join([*lines, '']))
    text = json.dumps(dict(path='.', train='images', names=dict(enumerate(classes))))
    (folder / 'data.yaml').write_text(text.replace('"0"', '0').replace('"1"', '1'))
    return path


def cvat(
    path: Path, images: dict[str, tuple[int, int]], elements: dict[str, Sequence[str]]
) -> Path:
    """CVAT's file: by image the elements of its shapes."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<annotations><version>1.1</version>']
    for place, (name, (width, height)) in enumerate(images.items()):
        head = f'id="{place}" name={quoteattr(name)} width="{width}" height="{height}"'
        lines += [f'<image {head}>', *elements.get(name, ()), '</image>']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([*lines, '</annotations>']), 'utf-8')
    return path


def cvat_polygons(shapes: Shapes) -> list[str]:
    """Outlines as CVAT has them."""
    return [
        f'<polygon label={quoteattr(name)} occluded="0" '
        f'points="{";".join(f"{x!r},{y!r}" for x, y in points)}" z_order="0"></polygon>'
        for name, points in shapes
    ]


def cityscapes(path: Path, size: tuple[int, int], shapes: Shapes) -> Path:
    """Cityscapes' file of outlines."""
    objects = [dict(label=name, polygon=[list(p) for p in points]) for name, points in shapes]
    content = dict(imgWidth=size[0], imgHeight=size[1], objects=objects)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def png(array: np.ndarray) -> bytes:
    """A PNG file of an array."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format='PNG')
    return file.getvalue()


def base64_png(array: np.ndarray) -> str:
    """A PNG file as LabelMe writes it into a text."""
    return base64.b64encode(png(array)).decode()


def labels_in(path: Path) -> np.ndarray:
    """The ids (H, W) of an indexed PNG file."""
    with Image.open(path) as image:
        assert image.mode == 'P'
        return np.array(image)
