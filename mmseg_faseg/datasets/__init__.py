import warnings

from .camvid import CamVidDataset
from .folders import FolderDataset
from .toy_panoptic import ToyPanopticDataset
from .toy_scenes import ToyScenesDataset
from .transforms import AntialiasedResizeShortestEdge

# Our configs pin memory for GPUs. Without one PyTorch pins none, which is right, and says so at
# every start of a data loader.
warnings.filterwarnings('ignore', message="'pin_memory' argument is set as true but no accelerator")

__all__ = [
    'AntialiasedResizeShortestEdge',
    'CamVidDataset',
    'FolderDataset',
    'ToyPanopticDataset',
    'ToyScenesDataset',
]
