"""What the soak looks for, it finds."""

import pytest

from tools.benchmarks import soak
from tools.benchmarks.soak_runs import BrokenPromiseError, check_flat

MIB = 2**20


def test_a_run_that_takes_what_it_took_is_flat():
    check_flat([(400 * MIB, 9, 0), *[(500 * MIB, 12, 4), (505 * MIB, 12, 4)] * 4])


@pytest.mark.parametrize(
    'later', [(515 * MIB, 12, 4), (500 * MIB, 13, 4), (500 * MIB, 12, 5)], ids=str
)
def test_growth_is_found(later):
    with pytest.raises(BrokenPromiseError, match='then'):
        check_flat([(500 * MIB, 12, 4)] * 6 + [later] * 3)


@pytest.mark.parametrize('after', [dict(iter=15, best=50.0), dict(iter=20, best=49.0)], ids=str)
def test_a_loss_is_found(tmp_path, after):
    (tmp_path / 'run.txt').write_text('the log')
    with pytest.raises(BrokenPromiseError, match='the log'):
        soak._check_nothing_lost(tmp_path / 'run', dict(iter=20, best=50.0), after, damaged=False)
