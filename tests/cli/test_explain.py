"""``faseg explain`` as it is typed."""

import cv2
import numpy as np
from typer.testing import CliRunner

from mmseg_faseg.cli import app


def call(*arguments):
    return CliRunner().invoke(app, ['explain', *map(str, arguments)])


def test_a_run_and_a_photo_are_enough(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('photo.jpg', np.full((50, 70, 3), 90, np.uint8))
    done = call(trained.work_dir, 'photo.jpg')
    assert done.exit_code == 0, done.output
    assert done.output.startswith('page: explained/photo.html, and ')
    assert (tmp_path / 'explained' / 'photo.html').is_file()


def test_queries_are_named_one_after_the_other(trained, tmp_path):
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((50, 70, 3), 90, np.uint8))
    done = call(
        *(trained.work_dir, '--queries', 3, 1, '--out', tmp_path / 'out'),
        *('--', tmp_path / 'photo.jpg'),
    )
    assert done.exit_code == 0, done.output
    names = {file.name for file in (tmp_path / 'out').iterdir()}
    assert {'photo_query-3.png', 'photo_query-1.png'} <= names
    assert not names & {'photo_query-0.png', 'photo_query-2.png', 'photo_query-4.png'}


def test_mistakes_end_in_a_line(trained, tmp_path):
    done = call(trained.work_dir, tmp_path / 'none.jpg')
    assert done.exit_code == 2
    assert done.stderr == f'error: there is no image {tmp_path / "none.jpg"}\n'
