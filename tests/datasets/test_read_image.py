"""Pictures of any kind become RGB with 8 bits, or are refused in a line that says why."""

import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from mmseg_faseg.datasets.read_image import from_array, from_pil, read_image
from mmseg_faseg.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]
DEEP = RNG.integers(0, 2**16, (20, 30), dtype=np.uint16)


def palette_with_transparency():
    image = Image.fromarray(RGB).quantize(16)
    image.info['transparency'] = bytes(range(16))
    return image


# What OpenCV, and with it training, makes of the same file.
LIKE_OPENCV = {
    'plain.png': (Image.fromarray(RGB), {}),
    'plain.jpg': (Image.fromarray(RGB), dict(quality=70)),
    'progressive.jpg': (Image.fromarray(RGB), dict(progressive=True)),
    'plain.bmp': (Image.fromarray(RGB), {}),
    'plain.tif': (Image.fromarray(RGB), {}),
    'grey.png': (Image.fromarray(GREY), {}),
    'grey.jpg': (Image.fromarray(GREY), {}),
    'deep.png': (Image.fromarray(DEEP), {}),
    'deep.tif': (Image.fromarray(DEEP), {}),
    'alpha.png': (Image.fromarray(np.dstack([RGB, GREY])), {}),
    'grey_alpha.png': (Image.fromarray(np.dstack([GREY, GREY]), 'LA'), {}),
    'palette.png': (Image.fromarray(RGB).quantize(16), {}),
    'transparent.png': (palette_with_transparency(), {}),
    'two_colours.png': (Image.fromarray(GREY > 99), {}),
    'thin.png': (Image.fromarray(RGB[:1]), {}),
    'dot.png': (Image.fromarray(RGB[:1, :1]), {}),
}


@pytest.mark.parametrize('name', LIKE_OPENCV)
def test_it_is_what_opencv_reads(tmp_path, name):
    image, options = LIKE_OPENCV[name]
    image.save(tmp_path / name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = read_image(tmp_path / name)
    assert found.dtype == np.uint8
    assert np.array_equal(found, cv2.imread(str(tmp_path / name))[..., ::-1])


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_photos_are_turned_as_their_camera_says(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / f'a.{suffix}', exif=exif)
    found = read_image(tmp_path / f'a.{suffix}')
    assert found.shape == ((30, 20, 3) if orientation > 4 else (20, 30, 3))
    if suffix == 'jpg':
        assert np.array_equal(found, cv2.imread(str(tmp_path / 'a.jpg'))[..., ::-1])
    assert np.array_equal(found, from_pil(Image.open(tmp_path / f'a.{suffix}')))


def test_colours_for_print(tmp_path):
    Image.fromarray(RGB).convert('CMYK').save(tmp_path / 'a.jpg', quality=100)
    assert np.abs(read_image(tmp_path / 'a.jpg').astype(int) - RGB).mean() < 20


def test_colours_of_16_bits_lose_the_lower_8(tmp_path):
    deep = RNG.integers(0, 2**16, (20, 30, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), deep)
    assert np.array_equal(read_image(tmp_path / 'a.png')[..., ::-1], deep >> 8)


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp', 'tif'])
def test_of_several_frames_the_first_is_taken_with_a_word(tmp_path, suffix):
    frames = [Image.fromarray(np.full((9, 9, 3), value, np.uint8)) for value in (40, 200)]
    frames[0].save(tmp_path / f'a.{suffix}', save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=rf'a.{suffix} has 2 frames: the first is taken'):
        found = read_image(tmp_path / f'a.{suffix}')
    assert np.abs(found.astype(int) - 40).max() < 10


def test_floating_point_from_0_to_1(tmp_path):
    values = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    Image.fromarray(values).save(tmp_path / 'a.tif')
    expected = np.rint(values * 255)
    assert np.array_equal(read_image(tmp_path / 'a.tif')[..., 0], expected)
    Image.fromarray(values * 9).save(tmp_path / 'b.tif')
    with pytest.raises(UserError, match=r'b.tif has floating point from 0 to 9'):
        read_image(tmp_path / 'b.tif')


BROKEN = {
    'empty.jpg': (b'', 'it is empty'),
    'text.jpg': (b'hello', 'it is no image of a known kind'),
    'Thumbs.db': (b'\xd0\xcf\x11\xe0' + bytes(600), 'it is no image of a known kind'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_files_that_hold_no_image(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f'{name} cannot be read: {message}'):
        read_image(tmp_path / name)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'bmp', 'webp', 'gif'])
def test_half_a_file(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)  # as some packages do
    Image.fromarray(RGB).save(tmp_path / f'a.{suffix}')
    whole = (tmp_path / f'a.{suffix}').read_bytes()
    (tmp_path / f'a.{suffix}').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f'a.{suffix} cannot be read: ') as error:
        read_image(tmp_path / f'a.{suffix}')
    assert len(str(error.value).splitlines()) == 1


def test_what_is_not_there_or_no_file(tmp_path):
    with pytest.raises(UserError, match='there is no file .*nowhere.jpg'):
        read_image(tmp_path / 'nowhere.jpg')
    with pytest.raises(UserError, match='cannot be read: Is a directory'):
        read_image(tmp_path)


def test_what_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(UserError, match='a.jpg cannot be read: Permission denied'):
        read_image(tmp_path / 'a.jpg')


def test_large_images_are_read_and_gigantic_ones_refused(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read_image(tmp_path / 'a.png').shape == (20, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(UserError, match='a.png has 30 x 20 pixels, 500 are the most'):
        read_image(tmp_path / 'a.png', max_pixels=500)


def test_arrays():
    assert np.array_equal(from_array(RGB, 'rgb'), RGB)
    assert np.array_equal(from_array(RGB, 'bgr'), RGB[..., ::-1])
    assert np.array_equal(from_array(np.dstack([RGB, GREY]), 'bgr'), RGB[..., ::-1])
    for grey in (GREY, GREY[..., None]):
        assert np.array_equal(from_array(grey), np.dstack([GREY] * 3))
    assert np.array_equal(from_array(DEEP)[..., 0], DEEP >> 8)
    for kind in (np.float16, np.float32, np.float64):
        assert np.abs(from_array((RGB / 255).astype(kind), 'rgb').astype(int) - RGB).max() <= 1


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (RGB, "channels='rgb', as PIL gives them, or channels='bgr', as OpenCV does, got None"),
        (np.zeros((3, 64, 80)), r'has the shape \(3, 64, 80\), images have \(H, W, 3\)'),
        (np.zeros((0, 8, 3)), 'has the shape'),
        (np.zeros((2, 8, 8, 3)), 'has the shape'),
        (np.zeros(8), 'has the shape'),
        (np.zeros((8, 8, 2)), 'has 2 channels'),
        (np.zeros((8, 8), np.int64), 'numbers of the type int64'),
        (np.zeros((8, 8), bool), 'numbers of the type bool'),
        (np.full((8, 8), 255.0), 'floating point from 255 to 255: numbers from 0 to 1'),
        (np.full((8, 8), -0.1), 'floating point from -0.1'),
        (np.full((8, 8), np.nan), 'floating point from nan'),
        (np.zeros((8, 8), complex), 'numbers of the type complex128'),
    ],
)
def test_arrays_that_are_no_images(array, message):
    with pytest.raises(UserError, match=f'the array {message}|{message}'):
        from_array(array)
