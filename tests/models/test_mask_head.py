"""The mask head takes parts that it does not know."""

import pytest
import torch

from mmseg_faseg.models.decoders.positional_query import PositionalQuery
from mmseg_faseg.registry import register
from tests.helpers.small_head import build_head, feature_maps, head_config


@register
class HalfwayPositionalQuery(PositionalQuery):
    """A kind of query that the package does not know: B, and B plus what the layer looked at."""

    def __init__(self, embed_dims):
        super().__init__()
        self.seen = []

    def first(self, view):
        return view.query_embed

    def next(self, view):
        self.seen.append((view.focus is None, view.level.size))
        if view.focus is None:
            return view.query_pos
        assert view.focus.shape == (*view.query_embed.shape[:2], view.level.key.shape[1])
        return view.query_embed + view.focus @ view.level.value


def test_a_new_kind_of_query_is_one_class():
    head = build_head(head_config(positional_query=dict(type='HalfwayPositionalQuery')))
    class_logits, _ = head(feature_maps(64, 96))
    levels = [(2, 3), (4, 6), (8, 12), (16, 24)]
    # high-resolution attention, on the last level, reports no focus
    expected = [(level == 3, levels[level]) for level in [0, 1, 2, 3] * 3]
    assert head.positional_query.seen == expected
    other = build_head(head_config(positional_query=dict(type='LearnedPositionalQuery')))
    assert not torch.allclose(class_logits[-1], other(feature_maps(64, 96))[0][-1])


@register
class NoQuery(torch.nn.Module):
    """A module without the two questions."""

    def __init__(self, embed_dims):
        super().__init__()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'pixel_decoder.type': 'mmdet.MSDeformAttnPixelDecoder'},
            "pixel_decoder.type must be FASegPixelDecoder, got 'mmdet.MSDeformAttnPixelDecoder', "
            'which makes no positional encodings',
        ),
        (dict(positional_query=dict(type='NoQuery')), r'first\(\) and next\(\), got NoQuery'),
    ],
)
def test_parts_with_another_interface_are_refused_at_once(changes, message):
    with pytest.raises(TypeError, match=message):
        build_head(head_config(**changes))
