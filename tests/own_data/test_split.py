"""Which images are validated on."""

import numpy as np
import pytest

from mmseg_faseg.errors import UserError
from mmseg_faseg.own_data.classes import Classes
from mmseg_faseg.own_data.split import look_alikes, shared_looks, split
from mmseg_faseg.own_data.survey import Looked, Survey

CLASSES = Classes(('a', 'b'))


def seen(count, values=({0: 1, 1: 1},)):
    rng = np.random.default_rng(0)
    looked = [
        Looked(
            f'{number:03d}',
            f'{number:03d}.jpg',
            f'{number:03d}.png',
            None,
            (8, 8),
            1,
            (8, 8),
            values[number % len(values)],
            sketch=rng.random(64) < 0.5,
        )
        for number in range(count)
    ]
    return Survey('photos', 'masks', looked)


@pytest.mark.parametrize(
    ('val', 'count'), [('20%', 6), ('7', 7), ('0.1%', 1), ('99.9%', 29), ('33.3 %', 10)]
)
def test_shares_and_numbers(val, count):
    found = seen(30)
    parts = split(found, CLASSES, val)
    assert len(parts.val) == count
    assert sorted(parts.train + parts.val) == [one.name for one in found.looked]


def test_the_same_seed_draws_the_same_images():
    found = seen(30)
    assert split(found, CLASSES, '20%', 3) == split(found, CLASSES, '20%', 3)
    assert split(found, CLASSES, '20%', 3) != split(found, CLASSES, '20%', 4)


def test_a_class_of_one_image_is_trained_on_and_one_of_two_is_in_both():
    values = [{0: 5}] * 20
    values[3] = {0: 1, 1: 1}
    parts = split(seen(20, values), CLASSES, '50%')
    assert '003' in parts.train
    values[4] = {0: 1, 1: 1}
    for seed in range(5):
        parts = split(seen(20, values), CLASSES, '50%', seed)
        assert len({'003', '004'} & set(parts.train)) == 1


def test_images_that_look_alike_stay_together():
    found = seen(40)
    for first in range(0, 40, 4):  # four frames of each scene
        sketch = found.looked[first].sketch
        for place in range(1, 4):
            other = sketch.copy()
            other[place] = ~other[place]
            found.looked[first + place].sketch = other
    assert [len(group) for group in look_alikes(found.pairs)] == [4] * 10
    parts = split(found, CLASSES, '20%')
    assert len(parts.val) == 8
    assert not shared_looks(found.pairs, parts)


def test_of_one_film_a_part_is_validated_on_and_that_is_told():
    found = seen(40)
    for one in found.looked:
        one.sketch = found.looked[0].sketch
    parts = split(found, CLASSES, '20%')
    assert len(parts.val) == 8
    assert len(shared_looks(found.pairs, parts)) == 32


def test_a_file_of_names(tmp_path):
    file = tmp_path / 'val.txt'
    file.write_text('003\n007.jpg\n\n')
    parts = split(seen(10), CLASSES, str(file))
    assert parts.val == ['003', '007']
    assert len(parts.train) == 8
    file.write_text('003\n070\n')
    with pytest.raises(UserError, match="lists '070', which is no image"):
        split(seen(10), CLASSES, str(file))
    file.write_text('003\n.\n')
    with pytest.raises(UserError, match="lists '.', which is no image"):
        split(seen(10), CLASSES, str(file))


@pytest.mark.parametrize('val', ['0', '10', '100%', '0%', '-3', 'half', '2.5', 'no_such.txt'])
def test_what_is_no_part(val):
    with pytest.raises(UserError, match='--val'):
        split(seen(10), CLASSES, val)
