"""Dropout of one attention layer stays its own."""

import pytest
from mmcv.cnn.bricks.transformer import MultiheadAttention

from mmseg_faseg.models import FocusAttention


@pytest.mark.filterwarnings('ignore:The arguments `dropout`:DeprecationWarning')
@pytest.mark.parametrize('kind', [MultiheadAttention, FocusAttention])
def test_dropout_of_a_detr_stays_there(kind):
    detr = MultiheadAttention(8, 2, dropout=0.1)
    assert (detr.attn.dropout, detr.dropout_layer.p) == (0.1, 0.1)
    later = kind(8, 2)
    assert (later.attn.dropout, later.dropout_layer.p) == (0.0, 0.0)


def test_what_is_given_counts():
    given = MultiheadAttention(8, 2, 0.2, 0.3, dict(type='Dropout', drop_prob=0.4))
    assert (given.attn.dropout, given.proj_drop.p, given.dropout_layer.p) == (0.2, 0.3, 0.4)
