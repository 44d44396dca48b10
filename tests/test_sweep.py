"""What is left for each run of a sweep still shows every pair of values."""

from itertools import combinations, product

import pytest

from tests.helpers.sweep import sweep


@pytest.mark.parametrize(
    ('axes', 'most'), [(['ab', 'xy', 'pqr'], 6), (['ab', 'xy', 'pqr', 'st'], 8), (['ab', 'xyz'], 6)]
)
def test_every_pair_is_in_each_run_and_all_at_night(axes, most):
    params = sweep(*map(list, axes))
    assert sorted(param.values for param in params) == sorted(product(*axes))
    daily = [param.values for param in params if not param.marks]
    assert len(daily) <= most
    for (i, one), (j, other) in combinations(enumerate(axes), 2):
        assert {(cell[i], cell[j]) for cell in daily} == set(product(one, other))
