"""The paper's ablations as a grid of variants of one config."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from mmengine.config import Config

from mmseg_faseg.apis import UserError

POSITIONAL_QUERIES = {
    'learned': 'LearnedPositionalQuery',
    'anchor': 'AnchorPositionalQuery',
    'dynamic': 'DynamicFocusPositionalQuery',
}
HRCA = ('none', 'block', 'pixel')
KEY_POSITIONS = ('sinusoid', 'conditional')


class Variant(NamedTuple):
    """One of the grid.

    Attributes:
        positional_query: 'learned', 'anchor' or 'dynamic' (DFPQ).
        hrca: 'none' or how regions are chosen, 'block' or 'pixel'.
        ratio: Share of the coarse tokens whose regions HRCA attends to; None without HRCA.
        key_pos: K_p, 'sinusoid' or 'conditional'.
        threshold: A layer attends where the last mask's sigmoid is at least this.
    """

    positional_query: str
    hrca: str
    ratio: float | None
    key_pos: str
    threshold: float

    def __str__(self) -> str:
        hrca = self.hrca if self.ratio is None else f'{self.hrca}-{self.ratio}'
        return f'{self.positional_query}_{hrca}_{self.key_pos}_{self.threshold}'

    def apply(self, base: Config) -> Config:
        """The variant's config.

        Without HRCA its layers go, and with them the level that only they visit: 13 layers in
        rounds of four become 10 in rounds of three.

        Raises:
            UserError: ``base`` is no FASeg config with HRCA.
        """
        cfg = Config(base.to_dict(), filename=base.filename)
        head = cfg.model.decode_head
        if head.get('type') != 'FASegHead' or not head.get('high_res_attn'):
            raise UserError(f'config {base.filename}: variants are made of a FASegHead with HRCA')
        if 'max_iters' not in cfg.get('train_cfg', {}):
            raise UserError(f'config {base.filename} has no train_cfg.max_iters')
        kind = POSITIONAL_QUERIES[self.positional_query]
        if head.positional_query.type != kind:
            head.positional_query = dict(type=kind)
        if self.hrca == 'none':
            layers = head.transformer_decoder.num_layers
            head.transformer_decoder.num_layers = layers - layers // 4
            head.num_transformer_feat_level = 3
            head.high_res_attn = None
        else:
            head.high_res_attn.update(region=self.hrca, ratio=self.ratio)
        if self.key_pos == 'sinusoid':
            head.positional_encoding = dict(
                type='mmdet.SinePositionalEncoding',
                num_feats=head.feat_channels // 2,
                normalize=True,
            )
        head.mask_threshold = self.threshold
        return cfg


def grid(
    positional_queries: Sequence[str],
    hrca: Sequence[str],
    ratios: Sequence[float],
    key_pos: Sequence[str],
    thresholds: Sequence[float],
) -> list[Variant]:
    """All combinations, those without HRCA once whatever its ratio."""
    combinations = itertools.product(positional_queries, hrca, ratios, key_pos, thresholds)
    variants = (
        Variant(query, region, None if region == 'none' else ratio, pos, threshold)
        for query, region, ratio, pos, threshold in combinations
    )
    return list(dict.fromkeys(variants))
