"""Videos small enough for tests."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def save_video(path: Path, frames: list[np.ndarray], rotation: int = 0, rate: int = 10) -> Path:
    """Writes frames RGB (H, W, 3) uint8, H and W even, with an upright angle beside them."""
    import av

    with av.open(str(path), 'w') as video:
        stream = video.add_stream('mpeg4', rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = 'yuv420p', 10_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        video.mux(stream.encode())
    return path
