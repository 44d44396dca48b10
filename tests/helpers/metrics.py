"""What a run has written about its metrics."""

import json
from pathlib import Path


def metrics_in(work_dir: Path) -> dict:
    """The metrics of the only test run in a work dir."""
    (file,) = work_dir.glob('*/*.json')
    metrics = json.loads(file.read_text())
    return {name: metrics[name] for name in ('aAcc', 'mIoU', 'mAcc')}


def logged_metrics(work_dir: Path) -> dict:
    """The metrics of the last validation of a training run."""
    lines = [
        json.loads(line)
        for file in work_dir.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    last = [line for line in lines if 'mIoU' in line][-1]
    return {name: last[name] for name in ('aAcc', 'mIoU', 'mAcc')}
