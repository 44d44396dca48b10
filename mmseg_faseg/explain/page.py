"""Writes what queries look at as one HTML file that needs no other, and its pictures as PNG."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from ..files import whole_file
from .explanation import ModelView
from .focus import QueryFocus, mean_by_layer
from .numbers import FocusNumbers
from .pictures import draw_classes, draw_numbers, draw_query, draw_regions, png_of


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        name: Of its file, without the page's own name and the suffix.
        png: The file's content.
    """

    name: str
    png: bytes

    @property
    def uri(self) -> str:
        """The picture itself, in a form that an HTML file can hold."""
        return f'data:image/png;base64,{base64.b64encode(self.png).decode()}'


class Shown(NamedTuple):
    """A query, and the picture of it."""

    query: QueryFocus
    picture: Picture


class Row(NamedTuple):
    """A query of the model, and the other model's for the same class if there is one."""

    own: Shown
    other: Shown | None


def write_page(
    folder: Path,
    name: str,
    view: ModelView,
    queries: Sequence[int] | None,
    beside: ModelView | None,
) -> list[Path]:
    """Writes the page and its pictures.

    Args:
        folder: Where to; it is there.
        name: What the files' names begin with.
        view: What the model made of the image.
        queries: Which queries to show; of each class found the one that adds most to it if None.
        beside: What another model with the same classes made of the image.

    Returns:
        The files, the page first.
    """
    if queries is None:
        chosen = view.class_map.main_queries()
    else:
        chosen = [(view.label_of(query), query) for query in queries]
    rows = [_row(view, beside, label, query) for label, query in chosen]
    views = [view] if beside is None else [view, beside]
    classes = draw_classes(view.image, view.class_map.labels, view.classes, view.palette)
    overview = Picture('classes', png_of(classes))
    chart = Picture('numbers', png_of(draw_numbers(_curves(views, rows))))
    regions = [_regions(one, '_beside' if one is beside else '') for one in views]
    text = _template().render(
        name=name,
        views=views,
        rows=rows,
        overview=overview,
        chart=chart,
        regions=regions,
        fields=FocusNumbers._fields,
    )
    shown = [one for row in rows for one in row if one is not None]
    pictures = [overview, chart, *filter(None, regions), *(one.picture for one in shown)]
    contents = {f'{name}.html': text.encode()}
    contents |= {f'{name}_{picture.name}.png': picture.png for picture in pictures}
    for file, content in contents.items():
        with whole_file(folder / file) as temporary:
            temporary.write_bytes(content)
    return [folder / file for file in contents]


def _row(view: ModelView, beside: ModelView | None, label: int, query: int) -> Row:
    own = _shown(view, label, query, f'query-{query}')
    theirs = None if beside is None else beside.main_query(label)
    if beside is None or theirs is None:
        return Row(own, None)
    return Row(own, _shown(beside, label, theirs, f'query-{query}_beside'))


def _shown(view: ModelView, label: int, query: int, name: str) -> Shown:
    focus = view.focus_of(query, label)
    return Shown(focus, Picture(name, png_of(draw_query(view.image, focus))))


def _regions(view: ModelView, suffix: str) -> Picture | None:
    """Where high-resolution attention looked; None if the model has none."""
    if not view.high_res_layers:
        return None
    figure = draw_regions(view.image, view.recorded.size, view.high_res_layers)
    return Picture(f'regions{suffix}', png_of(figure))


def _curves(views: Sequence[ModelView], rows: Sequence[Row]) -> list:
    """Each model's name, and its numbers layer by layer, averaged over the queries shown."""
    columns = zip(*rows, strict=True)
    found = [[shown.query for shown in column if shown is not None] for column in columns]
    return [
        (view.name, mean_by_layer(queries))
        for view, queries in zip(views, found, strict=False)
        if queries
    ]


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent)
    text = Path(__file__).with_name('page.html').read_text(encoding='utf-8')
    return environment.from_string(text)


def _number(value: float) -> str:
    return '–' if math.isnan(value) else f'{value:.2f}'


def _percent(value: float) -> str:
    return f'{value:.1%}'
