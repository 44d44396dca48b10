"""MMSegmentation's own tools run with our configs."""

import pytest

from tests.helpers.tools import call_tool, run_tool


@pytest.mark.subprocess
def test_printing_a_config_by_its_installed_name(tmp_path):
    done = run_tool('mmseg_tool.py', 'misc/print_config', 'mmseg_faseg::faseg_toy.py', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "type='FASegHead'" in done.stdout


def test_browsing_a_data_set(write_config, tmp_path, monkeypatch):
    config = write_config(tmp_path / 'tiny.py', "visualizer = dict(name='browsing')")
    call_tool(
        'mmseg_tool.py', 'analysis_tools/browse_dataset', config, '--output-dir', tmp_path / 'seen',
        '--not-show', '--show-interval', '0', monkeypatch=monkeypatch, cwd=tmp_path,
    )  # fmt: skip
    assert list((tmp_path / 'seen').glob('*.png'))


def test_an_unknown_tool_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        call_tool('mmseg_tool.py', 'browse_dataset', monkeypatch=monkeypatch, cwd=tmp_path)
    assert stop.value.code == 2
    assert "no 'browse_dataset'; it has analysis_tools/analyze_logs" in capsys.readouterr().err
