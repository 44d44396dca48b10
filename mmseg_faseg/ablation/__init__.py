from .runs import ablate
from .variants import HRCA, KEY_POSITIONS, POSITIONAL_QUERIES, Variant, grid

__all__ = ['HRCA', 'KEY_POSITIONS', 'POSITIONAL_QUERIES', 'Variant', 'ablate', 'grid']
