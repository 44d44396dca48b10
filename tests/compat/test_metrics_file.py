"""Of several processes one writes the metrics of a test."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import LoggerHook


@pytest.mark.parametrize(('rank', 'written'), [(0, 1), (1, 0)])
def test_metrics_are_written_by_the_first_process(rank, written, monkeypatch, tmp_path):
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: rank)
    hook = LoggerHook()
    hook.json_log_path = 'metrics.json'
    processor = SimpleNamespace(get_log_after_epoch=lambda *_, **__: ({'mIoU': 50.0}, ''))
    runner = SimpleNamespace(
        log_processor=processor,
        logger=SimpleNamespace(info=lambda _: None),
        test_dataloader=[],
        log_dir=str(tmp_path),
    )
    hook.after_test_epoch(runner)
    assert len(list(tmp_path.iterdir())) == written
