"""What is seen in folders of photos and label maps."""

import numpy as np
import pytest
from PIL import Image

from mmseg_faseg.errors import UserError
from mmseg_faseg.own_data.survey import survey
from tests.helpers.photos import ORIENTATION, make_folders


def by_name(found):
    return {one.name: one for one in found.looked}


def test_every_pixel_of_every_label_map_is_counted(tmp_path):
    photos, masks = make_folders(tmp_path, values=(0, 3, 255))
    found = survey(photos, masks)
    for one in found.looked:
        labels = np.asarray(Image.open(one.labels))
        assert one.values == {value: (labels == value).sum() for value in np.unique(labels)}
        assert one.size == one.label_size == (48, 64)
    assert sum(found.values.values()) == 8 * 48 * 64


def test_photos_of_any_suffix_have_the_label_map_of_their_name(tmp_path):
    photos, masks = make_folders(tmp_path, suffixes=('.jpg', '.PNG', '.webp', '.tiff'))
    found = survey(photos, masks)
    assert len(found.pairs) == 8
    assert all(f'{one.name}.png' in str(one.labels) for one in found.pairs)


def test_label_maps_may_have_an_ending(tmp_path):
    photos, masks = make_folders(tmp_path, ending='_mask')
    found = survey(photos, masks)
    assert found.label_ending == '_mask'
    assert [str(one.labels) for one in found.pairs] == sorted(
        str(masks / f'{one.name}_mask.png') for one in found.looked
    )


def test_folders_below_and_names_in_any_script(tmp_path):
    photos, masks = make_folders(tmp_path)
    for folder, suffix in ((photos, '.jpg'), (masks, '.png')):
        (folder / 'día 1').mkdir()
        (folder / f'p0{suffix}').rename(folder / 'día 1' / f'写真 0{suffix}')
    assert 'día 1/写真 0' in by_name(survey(photos, masks))
    assert len(survey(photos, masks).pairs) == 8


@pytest.mark.parametrize('keep', [0, 1, 0.5, 0.8])
@pytest.mark.parametrize(('folder', 'file'), [('photos', 'p2.jpg'), ('masks', 'p2.png')])
def test_a_file_that_ends_too_early_is_named(folder, file, keep, tmp_path):
    folders = make_folders(tmp_path)
    path = tmp_path / folder / file
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    found = survey(*folders)
    assert [one.problem[0] for one in found.looked if one.problem] == [str(path)]
    assert len(found.pairs) == 7


def test_images_are_as_large_as_they_are_seen(tmp_path):
    photos, masks = make_folders(tmp_path)
    with Image.open(photos / 'p1.jpg') as image:
        exif = image.getexif()
        exif[ORIENTATION] = 6
        image.save(photos / 'p1.jpg', exif=exif)
    turned = by_name(survey(photos, masks))['p1']
    assert (turned.size, turned.label_size, turned.turned) == ((64, 48), (48, 64), 6)


def test_colours_are_listed(tmp_path):
    photos, masks = make_folders(tmp_path)
    colours = np.zeros((48, 64, 3), np.uint8)
    colours[:10] = 200, 100, 0
    Image.fromarray(colours).save(masks / 'p1.png')
    seen = by_name(survey(photos, masks))['p1']
    assert seen.colours == {(0, 0, 0): 38 * 64, (200, 100, 0): 10 * 64}
    assert not seen.values


def test_label_maps_of_16_bit_keep_their_values(tmp_path):
    photos, masks = make_folders(tmp_path)
    Image.fromarray(np.full((48, 64), 1000, np.uint16)).save(masks / 'p1.png')
    assert by_name(survey(photos, masks))['p1'].values == {1000: 48 * 64}


def test_files_without_a_partner_and_of_other_kinds_are_listed(tmp_path):
    photos, masks = make_folders(tmp_path)
    (photos / 'p1.jpg').unlink()
    (photos / 'Thumbs.db').write_text('')
    (photos / '.hidden.jpg').write_text('')
    Image.open(photos / 'p2.jpg').save(photos / 'p2.png')
    found = survey(photos, masks)
    assert found.unpaired == [str(masks / 'p1.png')]
    assert found.unused == [str(photos / 'Thumbs.db')]
    assert found.doubled == [[str(photos / 'p2.jpg'), str(photos / 'p2.png')]]


def test_folders_that_cannot_be_meant(tmp_path):
    photos, masks = make_folders(tmp_path)
    (tmp_path / 'empty').mkdir()
    for arguments, text in (
        ((tmp_path / 'phoots', masks), 'phoots: there is no such folder'),
        ((photos / 'p1.jpg', masks), 'p1.jpg: is a file'),
        ((photos, tmp_path / 'empty'), 'empty has no label maps'),
        ((photos, photos), 'has no label maps'),
        ((masks, masks), 'put them in two folders'),
    ):
        with pytest.raises(UserError, match=text):
            survey(*arguments)
