"""Videos come back as they were written, upright and in time."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_faseg.apis.videos import (
    Frame,
    check_video_support,
    count_frames,
    read_frames,
    write_frames,
)
from mmseg_faseg.errors import UserError
from tests.helpers.random_checkpoint import picture
from tests.helpers.videos import save_video

pytest.importorskip('av', reason="PyAV is not installed: pip install 'mmseg_faseg[video]'")


@pytest.mark.parametrize('size', [(48, 64), (47, 63), (1, 1)])
def test_frames_are_written_and_read(tmp_path, size):
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(2)]  # as of a phone
    frames = [Frame(picture(*size, seed), time) for seed, time in enumerate(times)]
    write_frames(tmp_path / 'a.mp4', frames)
    found = list(read_frames(str(tmp_path / 'a.mp4')))
    assert count_frames(str(tmp_path / 'a.mp4')) == len(found) == 4
    for frame, (image, seconds) in zip(frames, found, strict=True):
        assert image.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        assert seconds == pytest.approx(frame.seconds, abs=1e-4)
        assert np.abs(image[: size[0], : size[1]].astype(int) - frame.image).mean() < 12


def test_time_that_stands_still_goes_on(tmp_path):
    frames = [Frame(picture(16, 16, seed), Fraction(0)) for seed in range(3)]
    write_frames(tmp_path / 'a.mp4', frames)
    times = [seconds for _, seconds in read_frames(str(tmp_path / 'a.mp4'))]
    assert len(times) == 3 and times == sorted(set(times))


@pytest.mark.parametrize('rotation', [0, 90, 180, -90])
def test_phones_that_were_held_upright(tmp_path, rotation):
    """OpenCV turns frames, too."""
    file = save_video(tmp_path / 'a.mp4', [picture(48, 64)] * 2, rotation)
    found = next(read_frames(str(file))).image
    expected = cv2.VideoCapture(str(file)).read()[1][..., ::-1]
    assert found.shape == ((64, 48, 3) if abs(rotation) == 90 else (48, 64, 3))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('content', [b'', b'no video', b'\0' * 500])
def test_files_that_hold_no_video(tmp_path, content):
    (tmp_path / 'a.mp4').write_bytes(content)
    for read in (count_frames, lambda path: list(read_frames(path))):
        with pytest.raises(UserError, match='a.mp4 cannot be read: ') as error:
            read(str(tmp_path / 'a.mp4'))
        assert len(str(error.value).splitlines()) == 1


def test_half_a_video(tmp_path):
    file = save_video(tmp_path / 'a.mp4', [picture(48, 64, seed) for seed in range(9)])
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match='a.mp4 cannot be read: Invalid data'):
        list(read_frames(str(file)))


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match='b.mp4 cannot be read: No such file'):
        list(read_frames(str(tmp_path / 'b.mp4')))


def test_sound_without_pictures(tmp_path):
    import av

    with av.open(str(tmp_path / 'a.mp4'), 'w') as video:
        stream = video.add_stream('aac', rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
        sound.sample_rate = 8000
        video.mux(stream.encode(sound))
        video.mux(stream.encode())
    with pytest.raises(UserError, match='a.mp4 cannot be read: there are no pictures in it'):
        count_frames(str(tmp_path / 'a.mp4'))


def test_pyav_that_is_not_installed(tmp_path, monkeypatch):
    Image.fromarray(picture(8, 8)).save(tmp_path / 'a.png')
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(UserError, match=r"pip install 'mmseg_faseg\[video\]'"):
        check_video_support()
