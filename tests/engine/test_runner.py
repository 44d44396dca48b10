"""The runner keeps the checks that a config's own list of hooks replaced."""

import logging

import pytest
from mmengine.config import Config

from mmseg_faseg.engine import DataCheckHook, ReadableRunner

LISTED = [hook.type for hook in Config.fromfile('mmseg_faseg::_base_/checks.py').custom_hooks]


@pytest.mark.parametrize(
    ('own', 'more'),
    [
        (None, []),
        ([dict(type=name) for name in LISTED], []),
        ([dict(type='EMAHook')], ['EMAHook']),
        ([dict(type='EMAHook'), dict(type='DataCheckHook', max_files=3)], ['EMAHook']),
    ],
    ids=['none', 'listed', 'replaced', 'one of its own'],
)
def test_checks_run_once_whatever_hooks_a_config_has(own, more, write_config, tmp_path):
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py'))
    cfg.custom_hooks = own
    cfg.work_dir = str(tmp_path / 'work')
    runner = ReadableRunner.from_cfg(cfg)
    names = [type(hook).__name__ for hook in runner.hooks]
    assert sorted(name for name in names if name in LISTED + more) == sorted(LISTED + more)
    (data_check,) = (hook for hook in runner.hooks if isinstance(hook, DataCheckHook))
    assert data_check.max_files == (3 if own and len(own) == 2 else None)
    if own is None:
        assert [name for name in names if name in LISTED] == LISTED


def test_a_log_on_a_full_disk_is_told_once(write_config, tmp_path, capsys):
    cfg = Config.fromfile(write_config(tmp_path / 'tiny.py'))
    cfg.work_dir = str(tmp_path / 'work')
    logger = ReadableRunner.from_cfg(cfg).logger
    (file,) = (one for one in logger.handlers if isinstance(one, logging.FileHandler))
    file.stream.close()
    file.stream = open('/dev/full', 'w')  # noqa: SIM115  the handler's
    logger.info('one')
    logger.info('two')
    assert capsys.readouterr().err == f'{file.baseFilename} is cut off: No space left on device\n'
    with pytest.raises(OSError, match='No space left'):
        file.stream.close()
    logger.removeHandler(file)
