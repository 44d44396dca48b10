"""What ``faseg export`` hands on, and what it says in the end."""

from typer.testing import CliRunner

from mmseg_faseg.apis import export as export_api
from mmseg_faseg.cli import app
from mmseg_faseg.export.agreement import Agreement


def call(*arguments):
    return CliRunner().invoke(app, ['export', *map(str, arguments)])


def test_options_are_handed_on_and_the_result_is_said(tmp_path, monkeypatch):
    given = {}
    target = tmp_path / 'model.onnx'

    def export(*arguments, **options):
        given.update(options, arguments=arguments)
        target.write_bytes(bytes(2**20))
        agreement = {'real': Agreement(3, 0.99995, 0.9999, 0.00023)}
        return export_api.Export([target], agreement, (0.25, 0.125), (360, 480), ['x.jpg is bad'])

    monkeypatch.setattr(export_api, 'export', export)
    done = call('runs/street', target, '--fp16', '--size', '360x480', '--scores')
    assert done.exit_code == 0, done.output
    assert given == dict(
        arguments=('runs/street', target),
        scores=True,
        size='360x480',
        precision='fp16',
        images=None,
        config=None,
        trust=False,
    )
    assert done.stdout.splitlines()[1:] == [
        '3 real pictures: 99.9950% of the pixels equal (least 99.9900%), largest score difference '
        '2.3e-04',
        '360 x 480: PyTorch 250 ms, .onnx 125 ms (medians)',
        f'{target}: 1.0 MiB',
    ]
    assert done.stderr == 'left out: x.jpg is bad\n'


def test_one_precision_at_a_time(tmp_path):
    done = call('runs/street', tmp_path / 'model.onnx', '--int8', '--fp16')
    assert done.exit_code == 2
    assert done.stderr == 'error: --int8 and --fp16: choose one\n'


def test_a_missing_run_is_one_line(tmp_path):
    done = call(tmp_path / 'nosuch.pth', tmp_path / 'model.onnx')
    assert done.exit_code == 2
    assert done.stderr.startswith('error: there is no checkpoint') and done.stderr.count('\n') == 1
