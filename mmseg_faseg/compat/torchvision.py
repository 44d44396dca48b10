"""Lets torchvision's Python parts import beside a torch that its operators were not built for.

torchvision's published build links against CUDA. With a CPU-only torch its operators do not load,
and ``import torchvision`` fails while it registers their meta kernels, although MMDetection and
MMPretrain need none of them. Declaring the two operators it asks for is enough; where torchvision
imports by itself, nothing is touched.
"""

import importlib
import sys

import torch

_SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)
_library = None


def ensure_importable() -> None:
    """Imports torchvision, declaring its missing operators if that is what stops it."""
    global _library
    try:
        importlib.import_module('torchvision')
        return
    except ImportError:
        return
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
        del sys.modules[name]
    _library = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in _SCHEMAS:
        _library.define(schema)
    importlib.import_module('torchvision')
