"""Pictures of any kind become RGB with 8 bits, or are refused with a reason."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError
from .broken_files import first_line, truncation_refused

MAX_PIXELS = 2**30  # OpenCV's limit too: 3 GiB
_CHANNELS = ('rgb', 'bgr')


def read_image(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image as it is meant to be seen: turned as its EXIF data say.

    Grey images, palettes and CMYK become RGB; transparency is left out, as where models are
    trained. Of 16 bits the upper 8 are taken, of several frames the first, with a warning.

    Args:
        path: The file.
        max_pixels: An image with more is refused before it is decoded.

    Returns:
        RGB (H, W, 3) uint8. Of JPEG and PNG with 8 bits it is what OpenCV decodes, too.

    Raises:
        UserError: Names the file and says why it cannot be read.
    """
    try:
        with truncation_refused(), large_images_allowed(), Image.open(path) as image:
            return from_pil(image, str(path), max_pixels)
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f'there is no file {path}') from None
    except UnidentifiedImageError:
        reason = 'it is no image of a known kind' if os.path.getsize(path) else 'it is empty'
        raise UserError(f'{path} cannot be read: {reason}') from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f'{path} cannot be read: {reason}') from None
    except Exception as error:  # so many kinds of damage, so many types
        raise UserError(f'{path} cannot be read: {first_line(error)}') from None


def from_pil(
    image: Image.Image, name: str = 'the image', max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """A PIL image as RGB (H, W, 3) uint8, by the rules of :func:`read_image`.

    Raises:
        UserError: It is too large, or its numbers have no range that is known.
    """
    if image.width * image.height > max_pixels:
        raise UserError(
            f'{name} has {image.width} x {image.height} pixels, {max_pixels:,} are the most'
        )
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':  # a photo with others for its maker's own use
        warnings.warn(f'{name} has {frames} frames: the first is taken', stacklevel=3)
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I;16'):
        return from_array(np.asarray(image).astype(np.uint16), None, name)
    if image.mode in ('I', 'F'):
        return from_array(np.asarray(image), None, name)
    if image.mode == 'P':  # whose transparent colour would become a warning
        image = image.convert('RGBA')
    return np.array(image.convert('RGB'))


def from_array(array: np.ndarray, channels: str | None = None, name: str = 'the array') -> Any:
    """An array as RGB (H, W, 3) uint8.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or, with transparency, which is left out, (H, W, 4):
            uint8, uint16 of which the upper 8 bits are taken, or floating point from 0 to 1.
        channels: The order of colours, ``'rgb'`` or ``'bgr'``. There is no default: PIL gives one,
            OpenCV the other, and the wrong one looks like a bad model.
        name: What to call it in errors.

    Raises:
        UserError: It has another shape, type or range, or colours whose order is not known.
    """
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[-1] > 4):
        raise UserError(f'{name} has the shape {array.shape}, images have (H, W, 3) or (H, W)')
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[-1] == 2:
        raise UserError(f'{name} has 2 channels, images have 1, 3 or 4')
    array = _with_8_bits(array, name)
    if array.shape[-1] == 1:
        return np.repeat(array, 3, -1)
    if channels not in _CHANNELS:
        raise UserError(
            f"{name} has colours in an order that must be said: channels='rgb', as PIL gives "
            f"them, or channels='bgr', as OpenCV does, got {channels!r}"
        )
    array = array[..., :3]
    return np.ascontiguousarray(array if channels == 'rgb' else array[..., ::-1])


def _with_8_bits(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        least, most = array.min(), array.max()
        if not (least >= 0 and most <= 1):  # nor NaN
            raise UserError(
                f'{name} has floating point from {least:g} to {most:g}: numbers from 0 to 1 are '
                'read as they are, others have to become uint8 first'
            )
        return (array * 255 + 0.5).astype(np.uint8)
    raise UserError(
        f'{name} has numbers of the type {array.dtype}: images have uint8, uint16 or floating '
        'point from 0 to 1'
    )


@contextmanager
def large_images_allowed() -> Iterator[None]:
    """Lifts PIL's limit, which stands in the way of satellites' and scanners' images."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
