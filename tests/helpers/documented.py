"""Commands in the documentation."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.tools import REPOSITORY

_BLOCK = re.compile(r'^( *)```(?:bash|sh|console)\n(.*?)^\1```', re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r'^\w+=')
_HERE_DOCUMENT = re.compile(r'<<(\w+)\n.*?^ *\1$', re.MULTILINE | re.DOTALL)
PAGES = ('README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs')


def pages() -> Iterator[Path]:
    """All pages that a user reads."""
    for name in PAGES:
        path = REPOSITORY / name
        yield from sorted(path.rglob('*.md')) if path.is_dir() else [path]


def commands() -> list[tuple[str, list[str]]]:
    """Each command in a block of shell: where it stands and its words, without variables set."""
    found = []
    for page in pages():
        for _, block in _BLOCK.findall(page.read_text()):
            text = _HERE_DOCUMENT.sub('', block).replace('\\\n', ' ')
            for line in (line.strip() for line in text.splitlines()):
                if line.startswith(('#', '--')):  # -- is what to add to another command
                    continue
                for part in re.split(r'\s(?:&&|\|)\s', line):
                    words = shlex.split(part, comments=True)
                    while words and _VARIABLE.match(words[0]):
                        words.pop(0)
                    if words and words[0] not in ('export', 'cd', 'for', 'done', 'do'):
                        words[0] = words[0].removeprefix('.venv/bin/')
                        found.append((str(page.relative_to(REPOSITORY)), words))
    return found
