"""Colours for classes that nobody chose colours for."""

import colorsys

_GOLDEN_RATIO = 0.618033988749895  # steps around a circle that never come close to an earlier one
_SHADES = ((0.85, 0.95), (0.55, 0.65), (0.45, 1.0))  # saturation and brightness


def default_palette(count: int) -> list[tuple[int, int, int]]:
    """RGB of each of a number of classes, 0 to 255: different hues, in three shades."""
    colours = []
    for index in range(count):
        saturation, brightness = _SHADES[index % len(_SHADES)]
        rgb = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1, saturation, brightness)
        colours.append((round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])))
    return colours
