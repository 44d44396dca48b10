"""Which classes label maps get, and which of them is for pixels that nobody painted."""

import difflib
from collections.abc import Sequence

from ..errors import UserError
from .drawing import IGNORED
from .maps import IGNORE

REST_NAMES = ('other', 'background', '_background_', 'unlabeled', 'unlabelled', 'rest', 'none')


def rest_among(drawn: Sequence[str], wanted: Sequence[str] | None, usual: str | None) -> str | None:
    """The class of pixels that nobody painted, where it is not said.

    Args:
        drawn: Names in the annotations.
        wanted: The classes that are asked for, if any.
        usual: What the format has; None if such pixels are ignored.

    Returns:
        The first of ``wanted``, or any that is drawn, if it is one of :data:`REST_NAMES`; else
        ``usual``.
    """
    names = drawn if wanted is None else wanted[:1]
    return next((name for name in names if name.lower() in REST_NAMES), usual)


def choose_classes(
    drawn: Sequence[str], wanted: Sequence[str] | None, rest: str | None, listed: bool
) -> tuple[list[str], int]:
    """The classes in the order of their ids, and the id of pixels that nobody painted.

    Args:
        drawn: Names in the annotations, in order.
        wanted: The classes that are asked for; all that are drawn if None.
        rest: The class of pixels that nobody painted; None if they are ignored. It comes first
            unless ``wanted`` has it elsewhere.
        listed: Whether ``drawn`` are all classes there can be. If not, others may be asked for,
            but for those that look like a slip.

    Raises:
        UserError: A class is not drawn, is asked for twice or has no proper name; or there are
            too many.
    """
    drawn = [name for name in drawn if name != IGNORED]
    if not drawn:
        raise UserError('the annotations name no class')
    classes = list(drawn if wanted is None else wanted)
    for name in [*classes, *filter(None, [rest])]:
        if not name.strip() or not name.isprintable():
            raise UserError(f'{name!r} is no name of a class: letters that can be seen are needed')
        if classes.count(name) > 1:
            raise UserError(f'--classes has {name!r} twice')
        if name not in drawn and name != rest:
            _refuse_unknown(name, drawn, listed)
    if rest is not None and (wanted is None or rest not in wanted):
        classes = [rest, *(name for name in classes if name != rest)]
    if len(classes) > IGNORE:
        raise UserError(f'{len(classes)} classes do not fit 8 bits: name some with --classes')
    return classes, IGNORE if rest is None else classes.index(rest)


def _refuse_unknown(name: str, drawn: Sequence[str], listed: bool) -> None:
    lower = {one.lower(): one for one in reversed(drawn)}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    if close:
        raise UserError(f'--classes: there is no {name!r}, did you mean {lower[close[0]]!r}?')
    if listed:
        shown = ', '.join(drawn[:20]) + (', ...' if len(drawn) > 20 else '')
        raise UserError(f'--classes: there is no {name!r}: there are {shown}')
