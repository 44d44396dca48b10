"""What checks of a folder of photos and labels look at, and what they find."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .classes import Classes
from .split import Split
from .survey import Survey

MOST_IN_WORDS = 12  # of a list in a sentence


class Context(NamedTuple):
    """What checks look at.

    Attributes:
        found: What was seen.
        classes: What the labels mean; None where there are no labels.
        named: Whether somebody said what the classes are.
        parts: What is trained and validated on; None where that is not decided.
    """

    found: Survey
    classes: Classes | None = None
    named: bool = False
    parts: Split | None = None

    def command(self, verb: str = 'check', *arguments: str) -> str:
        """A command about these folders."""
        labels = [] if self.found.labels is None else ['--labels', self.found.labels]
        return shlex.join(['faseg', verb, self.found.images, *labels, *arguments])


@dataclass
class Finding:
    """Something that a check found.

    Attributes:
        text: One line.
        mend: What to do: a command, or a sentence.
        files: Those that it is about; all of them are bad if ``stops``.
        stops: Whether training would not start; ``--skip-bad`` leaves the files out.
        check: The name of the check.
    """

    text: str
    mend: str = ''
    files: list[str] = field(default_factory=list)
    stops: bool = False
    check: str = ''


def counted(things: Sequence, what: str) -> str:
    """How many things there are: ``'2 images'``."""
    return f'{len(things)} {what}{"s" if len(things) != 1 else ""}'


def values_in_words(values: Iterable[int]) -> str:
    """Values in order, the first of many."""
    return in_words(map(str, sorted(values)))


def in_words(words: Iterable[str]) -> str:
    """A list for a sentence, the first of many."""
    words = list(words)
    return ', '.join(words[:MOST_IN_WORDS]) + (', ...' if words[MOST_IN_WORDS:] else '')
