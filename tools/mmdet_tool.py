"""Runs one of MMDetection's own tools with this package's models, configs and data sets known.

For example: python tools/mmdet_tool.py train configs/faseg_lite0_nuclei-instance.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.mmseg_tool import main  # noqa: E402

if __name__ == '__main__':
    main('mmdet', __doc__)
