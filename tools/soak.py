"""Trains, kills, damages and goes on for some time, and checks that nothing is lost."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.benchmarks.soak import main  # noqa: E402

if __name__ == '__main__':
    main()
