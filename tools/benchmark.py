"""Time and memory of two models side by side: tools/benchmarks/speed.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.benchmarks.speed import main  # noqa: E402

if __name__ == '__main__':
    main()
