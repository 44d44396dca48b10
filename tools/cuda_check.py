"""The CUDA path on a GPU in one report: tools/benchmarks/cuda_check/command.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.benchmarks.cuda_check.command import main  # noqa: E402

if __name__ == '__main__':
    main()
