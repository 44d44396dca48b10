"""What the page asks of a model, without the page."""

import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..apis.area_tables import AreaSum, write_table
from ..apis.explainer import Explainer
from ..apis.prediction import Prediction
from ..apis.prediction_files import save_label_map, save_overlay
from ..apis.predictor import Predictor
from ..datasets.read_image import read_image
from ..errors import UserError
from ..explain.explanation import ModelView
from ..explain.focus import query_at
from ..explain.legend import percent
from ..explain.page import Picture
from ..explain.pictures import draw_query, png_of


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture that was given, and what the model says about it.

    Attributes:
        file: Name of its file.
        prediction: The class of every pixel.
        notes: What one has to know about how it was read.
    """

    file: str
    prediction: Prediction = field(repr=False)
    notes: list[str]

    def save(self, folder: Path) -> tuple[Path, Path, Path]:
        """Writes label map, overlay and areas, named as the picture; their paths."""
        name = Path(self.file).stem
        labels, areas = folder / f'{name}.png', folder / f'{name}_areas.csv'
        save_label_map(labels, self.prediction)
        overlay = save_overlay(folder / f'{name}_overlay.jpg', self.prediction)
        total = AreaSum()
        total.add(self.prediction)
        write_table(areas, [dict(total.entry(), input=self.file)])
        return labels, overlay, areas


class PixelFocus(NamedTuple):
    """The query behind a pixel.

    Attributes:
        text: Which it is, and what it gives.
        picture: Where it looked and pointed and its mask, layer by layer.
    """

    text: str
    picture: Picture


class Answers:
    """Answers one question at a time.

    Args:
        predictor: The model.
        max_pixels: Pictures with more are refused.
    """

    def __init__(self, predictor: Predictor, max_pixels: int) -> None:
        self.predictor = predictor
        self.max_pixels = max_pixels
        self._explainer: Explainer | None = None
        # Of the last picture only: it holds megabytes, and making it anew takes one more run.
        self._view = lru_cache(maxsize=1)(self._explained)

    def predict(self, path: str) -> Photo:
        """Reads and predicts a picture.

        Raises:
            UserError: It cannot be read, is too large, or needs more memory than there is.
        """
        file = Path(path).name
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter('always')
            try:
                image = read_image(path, self.max_pixels)
            except UserError as error:  # where the server keeps it is nobody's business
                raise UserError(str(error).replace(path, file)) from None
        said = [str(note.message).replace(path, file) for note in notes]
        return Photo(file, self.predictor(image, channels='rgb'), said)

    def explain(self, photo: Photo, x: float, y: float) -> PixelFocus:
        """Shows the query that adds most to a pixel's class.

        Args:
            photo: A picture that was predicted.
            x: Where the pixel lies in the picture, from 0 on the left to 1 on the right.
            y: The same from top to bottom.

        Raises:
            UserError: The model has no decoder that can be recorded.
        """
        labels = photo.prediction.label_map
        row, column = _pixel(labels.shape, y, x)
        label = int(labels[row, column])
        view = self._view(photo)
        query = query_at(view.recorded, label, *_pixel(view.image_size, y, x))
        focus = view.focus_of(query, label)
        text = (
            f'{view.classes[label]} at ({column}, {row}) is due most to query {query}, which gives '
            f'this class with probability {focus.probability:.2f} and whose mask covers '
            f'{percent(focus.area)} of the picture.'
        )
        return PixelFocus(text, Picture('focus', png_of(draw_query(view.image, focus))))

    def _explained(self, photo: Photo) -> ModelView:
        if self._explainer is None:
            self._explainer = Explainer(self.predictor)
        return self._explainer(photo.prediction.image)


def _pixel(size: tuple[int, ...], y: float, x: float) -> tuple[int, int]:
    """Row and column of a place given in shares of a picture (H, W)."""
    height, width = size
    return min(max(int(y * height), 0), height - 1), min(max(int(x * width), 0), width - 1)
