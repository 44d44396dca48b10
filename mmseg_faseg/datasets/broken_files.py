"""What is wrong with a file that cannot be read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO

from mmengine import fileio
from PIL import Image, ImageFile, UnidentifiedImageError


@contextmanager
def truncation_refused() -> Iterator[None]:
    """Has PIL refuse files that end too early, whatever another package told it."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def damage(info: Mapping) -> str | None:
    """Names the first file of a data set's entry that is missing, empty, cut off or damaged.

    Args:
        info: The entry, with ``img_path`` and ``seg_map_path`` where there are such files.

    Returns:
        One line; None where both files are there and PIL decodes them, or knows not their format.
    """
    image, labels = info.get('img_path'), info.get('seg_map_path')
    for path, what in ((image, 'image'), (labels, f'annotation of {image}')):
        if path is None:
            continue
        try:
            content = fileio.get(path)
        except FileNotFoundError:
            return f'{path}: no such file ({what})'
        except Exception as error:  # whatever a store raises
            return f'{path}: cannot be read ({first_line(error)})'
        if not content:
            return f'{path}: cannot be read (the file is empty)'
        try:
            with truncation_refused(), Image.open(BytesIO(content)) as opened:
                opened.load()
        except UnidentifiedImageError:
            continue  # another decoder may know it
        except Exception as error:  # so many kinds of damage, so many types
            return f'{path}: cannot be read ({first_line(error)})'
    return None


def first_line(error: BaseException) -> str:
    """An error's type and the first line of what it says."""
    text = str(error).strip().splitlines()
    return f'{type(error).__name__}: {text[0]}' if text else type(error).__name__
