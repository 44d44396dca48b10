"""Videos, frame by frame in both directions."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..datasets.broken_files import first_line
from ..errors import UserError


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        image: RGB (H, W, 3) uint8, upright.
        seconds: When it is shown.
    """

    image: np.ndarray
    seconds: Fraction


def check_video_support() -> None:
    """Checks, before any work is done, that videos can be read and written.

    Raises:
        UserError: PyAV is not installed.
    """
    _av()


def count_frames(path: str) -> int | None:
    """How many frames a video has, if it says so.

    Raises:
        UserError: As :func:`read_frames`.
    """
    with _opened(path) as video:
        return video.streams.video[0].frames or None


def read_frames(path: str) -> Iterator[Frame]:
    """The frames of a video, one after the other.

    Raises:
        UserError: Names the file and says why it cannot be read, or what has to be installed.
    """
    with _opened(path) as video:
        stream = video.streams.video[0]
        stream.thread_type = 'AUTO'
        rate = stream.average_rate or Fraction(25)
        frames = iter(video.decode(stream))
        index = 0
        while (frame := _next(frames, path)) is not None:
            turned = np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90)
            shown = index / rate if frame.pts is None else frame.pts * frame.time_base
            yield Frame(np.ascontiguousarray(turned), Fraction(shown))
            index += 1
        if not index:
            raise UserError(f'{path} cannot be read: there is no frame in it')


def write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Writes a video, H.264 in MP4, which browsers and players show.

    Args:
        path: The file, which ends in ``.mp4``.
        frames: All of the first one's size, in the order they are shown.
    """
    av = _av()
    ticks = Fraction(1, 90_000)
    with av.open(str(path), 'w') as video:
        stream, last = None, -1
        for image, seconds in frames:
            if stream is None:
                stream = video.add_stream('libx264', options=dict(crf='20', preset='veryfast'))
                stream.height, stream.width = _even(image).shape[:2]
                stream.pix_fmt, stream.codec_context.time_base = 'yuv420p', ticks
            frame = av.VideoFrame.from_ndarray(_even(image), format='rgb24')
            last = max(int(seconds / ticks), last + 1)  # players expect that time goes on
            frame.pts, frame.time_base = last, ticks
            video.mux(stream.encode(frame))
        if stream is not None:
            video.mux(stream.encode())


def _even(image: np.ndarray) -> np.ndarray:
    """With an even height and width, which H.264 asks for: a row or column more."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise UserError("videos need PyAV: pip install 'mmseg_faseg[video]'") from None
    return av


def _opened(path: str) -> Any:
    av = _av()
    try:
        video = av.open(path)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f'{path} cannot be read: {_reason(error)}') from None
    if not video.streams.video:
        video.close()
        raise UserError(f'{path} cannot be read: there are no pictures in it')
    return video


def _next(frames: Iterator[Any], path: str) -> Any:
    import av

    try:
        return next(frames, None)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f'{path} cannot be read: {_reason(error)}') from None


def _reason(error: Any) -> str:
    return getattr(error, 'strerror', None) or first_line(error)
