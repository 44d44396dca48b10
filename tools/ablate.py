"""Trains configs with several seeds and tabulates them: tools/benchmarks/ablation.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.benchmarks.ablation import main  # noqa: E402

if __name__ == '__main__':
    main()
