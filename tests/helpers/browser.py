"""A browser without a window, as tests drive it, and the app to drive it at."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.helpers.tools import REPOSITORY

PATIENCE = 240  # seconds for anything, on a machine with too much to do
_MISSING = [program for program in ('chromium', 'chromedriver') if not shutil.which(program)] + [
    package for package in ('gradio', 'selenium') if find_spec(package) is None
]
needs_browser = pytest.mark.skipif(
    bool(_MISSING),
    reason=f'{" and ".join(_MISSING)} not found: tools/install_chromium.sh, and the extras app and '
    'tests',
)
_OPTIONS = (
    '--headless=new',
    '--no-sandbox',  # root has none, as in containers
    '--disable-dev-shm-usage',
    '--window-size=1280,1700',
    # Whatever is elsewhere is not to be had.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
)


@contextmanager
def browser(downloads: Path) -> Iterator[Any]:
    """Chromium without a window and without a network, with a log of its requests.

    Args:
        downloads: Folder for what it downloads.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium')
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
    options.add_experimental_option('prefs', {'download.default_directory': str(downloads)})
    service = webdriver.ChromeService(shutil.which('chromedriver'))
    driver = webdriver.Chrome(options, service)
    driver.set_page_load_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()


def requested_hosts(driver: Any) -> set[str]:
    """Hosts that pages have asked for anything since the last call."""
    messages = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    urls = [
        message['params']['request']['url']
        for message in messages
        if message['method'] == 'Network.requestWillBeSent'
    ]
    return {urlsplit(url).netloc for url in urls} - {''}  # data and blobs have none


@contextmanager
def running_app(checkpoint: Path, *options: str) -> Iterator[str]:
    """``faseg app`` in a process of its own; its address."""
    port = _free_port()
    command = [sys.executable, '-P', '-m', 'mmseg_faseg', 'app', str(checkpoint)]
    process = subprocess.Popen(
        [*command, '--port', str(port), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
        # SIGINT is ignored where tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout
        said = process.stdout.readline()
        assert said == f'http://127.0.0.1:{port}/ (Ctrl-C ends it)\n', said
        yield said.split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(PATIENCE)
        finally:
            process.kill()
    assert status == 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


class AppPage:
    """What a person does with the app.

    Args:
        driver: Of :func:`browser`.
        url: Of :func:`running_app`.
    """

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        driver.get(url)
        self.find('#upload input[type=file]')

    def find(self, selector: str) -> Any:
        """The first element, once it is there."""
        return self.wait_for(lambda: self.driver.find_elements('css selector', selector))[0]

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """What a condition gives, once it gives something."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE).until(lambda _: condition())

    def upload(self, file: Path) -> str:
        """Gives the app a file; what it says about it."""
        before = self.message
        self.find('#upload input[type=file]').send_keys(str(file))
        self.wait_for(lambda: self.message not in ('', before))
        return self.message

    @property
    def message(self) -> str:
        """The line above the picture."""
        return ' '.join(self._texts('#message p'))

    def legend(self) -> list[str]:
        """Classes and shares beside the picture."""
        return [text.replace('\n', ' ') for text in self._texts('#scene .legend li')]

    def point_at(self, x: float, y: float) -> str:
        """Moves the pointer to a place of the picture, 0 to 1 each way; what then stands there."""
        self._move_to(x, y).perform()
        return self.wait_for(lambda: self.find('#scene .here').text)

    def click_at(self, x: float, y: float) -> str:
        """Clicks at a place of the picture; what is said about it, once the picture is drawn."""
        before = self._texts('#focus p')
        self._move_to(x, y).click().perform()
        self.wait_for(lambda: self._texts('#focus p') not in ([], before))
        self.wait_for(lambda: self.script("document.querySelector('#focus img')?.naturalWidth"))
        return ' '.join(self._texts('#focus p'))

    def _move_to(self, x: float, y: float) -> Any:
        from selenium.webdriver import ActionChains

        picture = self.find('#scene .picture')
        self.script("document.querySelector('#scene .picture').scrollIntoView()")
        width, height = picture.size['width'], picture.size['height']
        return ActionChains(self.driver).move_to_element_with_offset(
            picture, round((x - 0.5) * width), round((y - 0.5) * height)
        )

    def _texts(self, selector: str) -> list[str]:
        return self.script(f'[...document.querySelectorAll("{selector}")].map((e) => e.innerText)')

    def script(self, expression: str) -> Any:
        """The value of an expression in JavaScript."""
        return self.driver.execute_script(f'return {expression}')
