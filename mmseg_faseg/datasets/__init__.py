from .camvid import CamVidDataset
from .toy_scenes import ToyScenesDataset
from .transforms import AntialiasedResizeShortestEdge

__all__ = ['AntialiasedResizeShortestEdge', 'CamVidDataset', 'ToyScenesDataset']
