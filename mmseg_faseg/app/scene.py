"""A picture with its classes, as the page's own component (``scene.js``) takes it."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..apis.prediction import Prediction
from ..explain.legend import percent

_LONGEST = 1600  # pixels of a side that are shown; downloads have all


def part(suffix: str) -> str:
    """A file of the component: its ``'html'``, ``'css'`` or ``'js'``."""
    return Path(__file__).with_name(f'scene.{suffix}').read_text(encoding='utf-8')


def scene_of(prediction: Prediction) -> dict[str, Any]:
    """What the component shows: a picture, the number of each pixel's class, and a legend.

    Pictures are data URIs, so that no file has to be served.
    """
    labels = prediction.label_map
    size = _shown_size(labels.shape)
    picture = Image.fromarray(prediction.image).resize(size, Image.Resampling.BOX)
    shown = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    numbers = np.asarray(shown).astype(np.uint16)
    bytes_ = np.stack([numbers & 255, numbers >> 8, np.zeros_like(numbers)], -1)
    return dict(
        picture=_uri(picture, 'jpeg', quality=90),
        labels=_uri(Image.fromarray(bytes_.astype(np.uint8)), 'png'),
        classes=prediction.classes,
        palette=prediction.palette,
        legend=[
            dict(
                name=name,
                colour=prediction.palette[prediction.classes.index(name)],
                share=percent(share),
            )
            for name, share in prediction.areas.items()
        ],
    )


def _shown_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height."""
    scale = min(1.0, _LONGEST / max(shape))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return f'data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}'
