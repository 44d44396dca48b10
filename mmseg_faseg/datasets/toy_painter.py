"""Paints one toy scene: an image and what it shows where, from random numbers alone.

Only additions, multiplications, divisions and square roots are used, which IEEE arithmetic rounds
alike everywhere, so a scene is the same to the bit on every machine. Shapes are signed distances in
pixels (negative inside), which give soft edges in the image and hard ones in the labels.
"""

from typing import NamedTuple

import numpy as np

SKY, MEADOW, WATER, HOUSE, TREE, POLE, LAMP, BALL = range(8)
IGNORED = 255
NO_SEGMENT = 0

# Colours are RGB in 0..255. Each sky: at the zenith, at the horizon. Water mirrors the sky, so that
# only its place tells the two apart.
_SKIES = (
    ((70, 130, 200), (190, 220, 235)),
    ((95, 110, 165), (245, 190, 160)),
    ((60, 75, 130), (235, 150, 120)),
    ((130, 150, 170), (205, 210, 215)),
    ((40, 150, 190), (225, 235, 210)),
)
_MEADOWS = ((120, 160, 70), (150, 155, 75), (95, 140, 80), (175, 150, 85), (135, 170, 105))
_WALLS = ((225, 205, 170), (205, 120, 95), (170, 185, 200), (240, 235, 225), (220, 175, 90))
_ROOFS = ((150, 60, 50), (95, 75, 80), (75, 85, 100), (125, 85, 60))
_LEAVES = ((45, 95, 50), (65, 110, 45), (35, 80, 65), (150, 95, 40), (95, 115, 40))
_POLES = ((60, 60, 65), (110, 110, 115), (235, 235, 230), (95, 65, 45))
# Lamps and balls share their colours and sizes: a lamp is what sits on a pole.
_DISCS = ((235, 70, 60), (250, 205, 70), (245, 245, 240), (80, 120, 225), (240, 130, 190))


class Scene(NamedTuple):
    """A picture of H x W pixels and what it shows.

    Attributes:
        image: RGB (H, W, 3) uint8.
        labels: Label ids (H, W) uint8, 0..7 in the order of :class:`ToyScenesDataset`'s classes,
            255 in the one pixel wide border around every shape.
        segments: Segment numbers (H, W) uint8, from 1, in the order of painting: sky, meadow and
            water have one each, every house, tree, pole, lamp and ball its own; 0 where the label
            is 255. The number of a shape that others hide is missing.
    """

    image: np.ndarray
    labels: np.ndarray
    segments: np.ndarray


def paint_scene(rng: np.random.Generator, size: int) -> Scene:
    """Paints a landscape with houses, trees, thin poles, lamps on some poles, and balls.

    Args:
        rng: Where all randomness comes from.
        size: Height and width in pixels, at least 64.

    Returns:
        The scene, of ``size x size`` pixels.
    """
    canvas = _Canvas(rng, size)
    horizon = _paint_land(canvas)
    _paint_lake(canvas, horizon)
    _paint_buildings_and_trees(canvas, horizon)
    tops = _paint_poles(canvas, horizon)
    _paint_balls(canvas, tops)
    return Scene(canvas.finish(), canvas.labels, canvas.segments)


class _Canvas:
    """The picture in the making; later shapes hide earlier ones."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.sky = np.zeros((2, 3))  # colours at the zenith and at the horizon
        self.y, self.x = np.mgrid[:size, :size].astype(np.float64)
        self.image = np.zeros((size, size, 3))
        self.labels = np.full((size, size), SKY, dtype=np.uint8)
        self.segments = np.ones((size, size), dtype=np.uint8)  # the sky's
        self.painted = 1

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def choose(self, colours: tuple) -> np.ndarray:
        """One of the colours, slightly off, so that no two shapes match exactly."""
        colour = np.array(colours[self.rng.integers(len(colours))], dtype=np.float64)
        return colour * self.uniform(0.88, 1.08) + (self.rng.random(3) - 0.5) * 16

    def texture(self, cell_height: float, cell_width: float, strength: float) -> np.ndarray:
        """Smooth noise around 1 of two octaves, ``(size, size, 1)``; cells in pixels."""
        noise = self._noise(cell_height, cell_width)
        noise = noise + 0.5 * self._noise(cell_height / 2, cell_width / 2)
        return 1 + strength * (noise - 0.75)[..., None]

    def _noise(self, cell_height: float, cell_width: float) -> np.ndarray:
        row, down = _smooth_steps(self.y, cell_height)
        column, right = _smooth_steps(self.x, cell_width)
        lattice = self.rng.random((row.max() + 2, column.max() + 2))
        upper = lattice[row, column] * (1 - right) + lattice[row, column + 1] * right
        lower = lattice[row + 1, column] * (1 - right) + lattice[row + 1, column + 1] * right
        return upper * (1 - down) + lower * down

    def paint(self, distance: np.ndarray, colour: np.ndarray, label: int) -> None:
        """Makes a segment where ``distance`` (H, W) is below 0.5 and ignores a pixel around it."""
        self.shade(distance, colour)
        self.painted += 1
        border, inside = (distance >= 0.5) & (distance < 1.5), distance < 0.5
        self.labels[border], self.segments[border] = IGNORED, NO_SEGMENT
        self.labels[inside], self.segments[inside] = label, self.painted

    def shade(self, distance: np.ndarray, colour: np.ndarray) -> None:
        """Colours a part of a shape without touching labels and segments."""
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        self.image = self.image * (1 - cover) + colour * cover

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        return np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2) - radius

    def box(self, left: float, right: float, top: float, bottom: float) -> np.ndarray:
        aside = np.maximum(left - self.x, self.x - right)
        return np.maximum(aside, np.maximum(top - self.y, self.y - bottom))

    def triangle(self, x: float, top: float, bottom: float, half_width: float) -> np.ndarray:
        """An upright triangle with its tip at ``(x, top)``."""
        height = bottom - top
        slope = height * np.abs(self.x - x) - half_width * (self.y - top)
        slope = slope / np.sqrt(np.float64(height**2 + half_width**2))
        return np.maximum(slope, self.y - bottom)

    def finish(self) -> np.ndarray:
        """The image as uint8, with a little camera noise."""
        noise = (self.rng.random(self.image.shape) - 0.5) * 10
        return np.clip(self.image + noise + 0.5, 0, 255).astype(np.uint8)


def _smooth_steps(coordinates: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Lattice indices, and how far each pixel is towards the next one (0..1, smoothed)."""
    position = coordinates / cell
    index = position.astype(np.int64)
    part = position - index
    return index, part * part * (3 - 2 * part)


def _paint_land(canvas: _Canvas) -> np.ndarray:
    """Sky with clouds, and two ridges of meadow; gives the horizon's y for every column."""
    size = canvas.size
    canvas.sky = np.array(_SKIES[canvas.rng.integers(len(_SKIES))])
    zenith, haze = canvas.sky
    height = canvas.y[..., None] / size
    canvas.image = (zenith * (1 - height) + haze * height) * canvas.texture(18, 40, 0.35)

    horizon = canvas.uniform(0.32, 0.52) * size
    ridge = horizon + (canvas._noise(size, 45)[0] - 0.5) * 0.2 * size
    far = canvas.choose(_MEADOWS) * 0.75 + haze * 0.25
    canvas.paint(ridge - canvas.y, far * canvas.texture(7, 12, 0.4), MEADOW)
    near_ridge = horizon + 0.2 * size + (canvas._noise(size, 60)[0] - 0.5) * 0.2 * size
    canvas.shade(near_ridge - canvas.y, canvas.choose(_MEADOWS) * canvas.texture(4, 9, 0.5))
    return ridge


def _paint_lake(canvas: _Canvas, horizon: np.ndarray) -> None:
    """In most scenes a lake lies low in the picture; it mirrors the sky."""
    if canvas.rng.random() > 0.75:
        return
    size = canvas.size
    x, y = canvas.uniform(0.1, 0.9) * size, canvas.uniform(0.78, 0.95) * size
    half_width, half_height = canvas.uniform(0.3, 0.6) * size, canvas.uniform(0.09, 0.17) * size
    across, along = (canvas.x - x) / half_width, (canvas.y - y) / half_height
    level = np.sqrt(across**2 + along**2)
    slope = np.sqrt((across / half_width) ** 2 + (along / half_height) ** 2)
    distance = (level - 1) * level / np.maximum(slope, 1e-6)
    distance = np.maximum(distance, horizon + 4 - canvas.y)
    zenith, haze = canvas.sky
    depth = np.clip((canvas.y - y + half_height) / (2 * half_height), 0, 1)[..., None]
    colour = haze * (1 - depth) + zenith * depth
    canvas.paint(distance, colour * canvas.texture(3, 40, 0.35), WATER)


def _paint_buildings_and_trees(canvas: _Canvas, horizon: np.ndarray) -> None:
    """Houses and trees, the far ones first; what stands nearer is larger."""
    size = canvas.size
    things = [_paint_house] * int(canvas.rng.integers(1, 4))
    things += [_paint_tree] * int(canvas.rng.integers(2, 6))
    places = []
    for paint in things:
        x, nearness = canvas.uniform(0, 1) * (size - 1), canvas.uniform(0, 1)
        ground = horizon[int(x)] + 4 + nearness * 0.35 * size
        places.append((ground, x, (0.6 + 0.7 * nearness) * size / 128, paint))
    for ground, x, scale, paint in sorted(places, key=lambda place: place[0]):
        paint(canvas, x, ground, scale)


def _paint_house(canvas: _Canvas, x: float, ground: float, scale: float) -> None:
    half_width, height = canvas.uniform(9, 16) * scale, canvas.uniform(14, 26) * scale
    top = ground - height
    ridge = top - canvas.uniform(8, 14) * scale
    walls = canvas.box(x - half_width, x + half_width, top, ground)
    roof = canvas.triangle(x, ridge, top, half_width + 2 * scale)
    wall_colour = canvas.choose(_WALLS) * canvas.texture(2.5, 5, 0.25)
    canvas.paint(np.minimum(walls, roof), wall_colour, HOUSE)
    canvas.shade(roof, canvas.choose(_ROOFS) * canvas.texture(2, 6, 0.4))
    shadow = np.maximum(walls, x + 0.35 * half_width - canvas.x)
    canvas.shade(shadow + 0.5, canvas.image * 0.8)
    glass = canvas.choose(((60, 70, 90), (250, 220, 130)))
    for column in (-0.5, 0.5):
        for row in (0.3, 0.68):
            left, upper = x + (column - 0.2) * half_width, top + (row - 0.1) * height
            pane = canvas.box(left, left + 0.4 * half_width, upper, upper + 0.2 * height)
            canvas.shade(pane + 0.5, glass)


def _paint_tree(canvas: _Canvas, x: float, ground: float, scale: float) -> None:
    height, half_width = canvas.uniform(22, 42) * scale, canvas.uniform(6, 12) * scale
    trunk_width = (1.5 + canvas.uniform(0, 1)) * scale
    trunk = canvas.box(x - trunk_width, x + trunk_width, ground - height + half_width, ground)
    if canvas.rng.random() < 0.45:  # conifer
        tiers = [(1.0, 0.55, 0.7), (0.8, 0.35, 0.85), (0.6, 0.15, 1.0)]
        parts = [
            canvas.triangle(x, ground - high * height, ground - low * height, wide * half_width)
            for high, low, wide in tiers
        ]
    else:
        crown = ground - height + half_width
        parts = [canvas.disc(x, crown, half_width)]
        for side in (-1, 1):
            shift = side * canvas.uniform(0.4, 0.8) * half_width
            drop = canvas.uniform(0.2, 0.7) * half_width
            parts.append(canvas.disc(x + shift, crown + drop, 0.75 * half_width))
    crown = np.minimum.reduce(parts)
    bark = np.array((95.0, 70.0, 50.0)) * canvas.texture(6, 2, 0.4)
    canvas.paint(np.minimum(trunk, crown), bark, TREE)
    light = 1.12 - 0.3 * np.clip((canvas.x - x + half_width) / (2 * half_width), 0, 1)
    canvas.shade(crown, canvas.choose(_LEAVES) * light[..., None] * canvas.texture(3, 3, 0.7))


def _paint_poles(canvas: _Canvas, horizon: np.ndarray) -> list[tuple[float, float]]:
    """Upright poles, 1 to 3 pixels wide, about half with a lamp; gives where their tops are."""
    tops: list[tuple[float, float]] = []
    for _ in range(canvas.rng.integers(2, 6)):
        width = int(canvas.rng.integers(1, 4))
        left = int(canvas.rng.integers(4, canvas.size - 8))
        ground = horizon[left] + canvas.uniform(0.1, 0.4) * canvas.size
        top = max(ground - canvas.uniform(0.25, 0.55) * canvas.size, 8.0)
        if any(abs(left - x) < 14 for x, _ in tops):
            continue  # poles side by side would make one wide pole
        middle = left + (width - 1) / 2
        pole = canvas.box(left, left + width - 1, int(top), int(ground))
        canvas.paint(pole, canvas.choose(_POLES), POLE)
        if canvas.rng.random() < 0.55:
            _paint_disc(canvas, middle, int(top) - 1.0, LAMP)
        tops.append((middle, top))
    return tops


def _paint_balls(canvas: _Canvas, tops: list[tuple[float, float]]) -> None:
    """Small discs anywhere, in the air too, but away from poles."""
    for _ in range(canvas.rng.integers(2, 6)):
        x, y = (canvas.uniform(6, canvas.size - 7) for _ in range(2))
        if all(abs(x - pole_x) > 9 for pole_x, _ in tops):
            _paint_disc(canvas, x, y, BALL)


def _paint_disc(canvas: _Canvas, x: float, y: float, label: int) -> None:
    radius = canvas.uniform(2, 5)
    colour = canvas.choose(_DISCS)
    canvas.paint(canvas.disc(x, y, radius), colour * canvas.texture(3, 3, 0.15), label)
    canvas.shade(canvas.disc(x + 0.3 * radius, y + 0.4 * radius, 0.45 * radius), colour * 0.82)
    canvas.shade(canvas.disc(x - 0.35 * radius, y - 0.35 * radius, 0.2 * radius), colour + 60)
