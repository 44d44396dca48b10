from .mask2former import load_mask2former

__all__ = ['load_mask2former']
