"""Takes the picture of the app that docs/app.md shows.

    python -m tests.app.take_picture CHECKPOINT PHOTO X Y PICTURE.png

X and Y say where in the photo to click, from 0 to 1.
"""

import sys
import tempfile
from pathlib import Path

from tests.helpers.browser import AppPage, browser, running_app

if __name__ == '__main__':
    checkpoint, photo, x, y, picture = sys.argv[1:]
    with (
        running_app(Path(checkpoint)) as url,
        tempfile.TemporaryDirectory() as folder,
        browser(Path(folder)) as driver,
    ):
        page = AppPage(driver, url)
        page.upload(Path(photo).resolve())
        page.click_at(float(x), float(y))
        page.point_at(float(x), float(y))
        height = page.script('document.documentElement.scrollHeight')
        driver.set_window_size(1280, height + 150)
        page.point_at(float(x), float(y))
        driver.save_screenshot(picture)
