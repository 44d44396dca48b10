"""Time and memory as the work grows: tools/benchmarks/scaling.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.benchmarks.scaling import main  # noqa: E402

if __name__ == '__main__':
    main()
