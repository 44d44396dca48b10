from .mask2former import load_mask2former
from .released import convert_file

__all__ = ['convert_file', 'load_mask2former']
