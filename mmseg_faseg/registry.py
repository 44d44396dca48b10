"""Where the model's parts are registered."""

from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.registry import MODELS


def register(cls: type) -> type:
    """Class decorator: registers in MMSegmentation's MODELS, and at the root of all MODELS.

    MMDetection's and MMPretrain's registries look in themselves and then in MMEngine's root, so a
    class that is registered there too is found whatever the default scope.
    """
    MODELS.register_module()(cls)
    ROOT_MODELS.register_module()(cls)
    return cls
