"""Combinations of values: every pair in each run, all of them at night."""

from itertools import combinations, product

import pytest


def sweep(*axes: list) -> list:
    """Parameters for every combination of one value of each axis.

    Those outside a small subset, in which any two values of two axes still meet, are marked
    ``nightly``.
    """
    cells = list(product(*(range(len(axis)) for axis in axes)))
    missing = set().union(*map(_pairs, cells))
    chosen = set()
    while missing:
        best = max(cells, key=lambda cell: len(missing & _pairs(cell)))
        chosen.add(best)
        missing -= _pairs(best)
    return [
        pytest.param(
            *(axis[index] for axis, index in zip(axes, cell, strict=True)),
            marks=() if cell in chosen else pytest.mark.nightly,
        )
        for cell in cells
    ]


def _pairs(cell: tuple[int, ...]) -> set:
    return set(combinations(enumerate(cell), 2))
