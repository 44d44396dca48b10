"""The axes along which the work grows, and how the cost grows with each."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Point(NamedTuple):
    """Side of the square image in pixels, queries, classes and images."""

    side: int
    queries: int
    classes: int
    batch: int


# What an axis leaves as it is while it grows.
BASE = Point(side=512, queries=100, classes=150, batch=1)

AXES: dict[str, Sequence[int]] = {
    'side': (256, 512, 1024, 2048),
    'queries': (50, 100, 200, 400),
    'classes': (19, 150, 400, 847),
    'batch': (1, 2, 4, 8),
}


def growth_exponents(rows: list[dict[str, Any]], axis: str, quantity: str) -> dict[str, float]:
    """Slope, of log over log, between an axis's last two measured points, by model."""
    exponents = {}
    for name in dict.fromkeys(row['name'] for row in rows):
        own = [row for row in on_axis(rows, axis, name) if row[quantity]]
        if len(own) > 1:
            first, last = own[-2:]
            steps = math.log(last[axis] / first[axis])
            exponents[name] = math.log(last[quantity] / first[quantity]) / steps
    return exponents


def on_axis(rows: list[dict[str, Any]], axis: str, name: str) -> list[dict[str, Any]]:
    """A model's rows on which only this axis may differ from ``BASE``, ascending."""
    others = [field for field in Point._fields if field != axis]
    own = [
        row
        for row in rows
        if row['name'] == name and all(row[field] == getattr(BASE, field) for field in others)
    ]
    return sorted(own, key=lambda row: row[axis])
