"""What a browser makes of an HTML page."""

from html.parser import HTMLParser
from pathlib import Path

_EMPTY = ('meta', 'img', 'br', 'hr', 'link', 'input')  # elements without an end
_OPTIONAL = ('tr', 'th', 'td', 'li', 'p')  # whose end may be left out


class Page(HTMLParser):
    """A page: its text, its elements, and what it would fetch.

    Attributes:
        text: What can be read, in a line.
        tags: Names of all elements.
        addresses: Values of all attributes that name something to fetch or go to.
        titles: What is shown when the pointer rests on an element.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.titles: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.text = ' '.join(' '.join(self.parts).split())
        assert self._open == []

    @classmethod
    def read(cls, file: Path) -> 'Page':
        return cls(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ('src', 'href', 'srcset')]
        self.titles += [value for name, value in attrs if name == 'title']
        if tag not in _EMPTY and tag not in _OPTIONAL:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _OPTIONAL:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ['style']:
            self.parts.append(data)

    def needs_nothing_else(self) -> bool:
        """Whether all it shows is in it, and nothing in it runs."""
        inside = all(address.startswith(('data:', '#')) for address in self.addresses)
        return inside and not {'script', 'link', 'iframe', 'object', 'embed'} & set(self.tags)
