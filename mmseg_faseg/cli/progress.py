"""A progress bar on stderr, for those who look at a terminal."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar('T')


def progress(things: Sequence[T], what: str) -> Iterable[T]:
    """The things, one after the other, with a bar that goes once all are done."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(things, what, console=console, transient=True, disable=not console.is_terminal)
