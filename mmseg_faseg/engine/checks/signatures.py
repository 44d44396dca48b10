"""What arguments a class or function takes, those that it passes on to the class above included."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Arguments(NamedTuple):
    """Arguments that can be given by name.

    Attributes:
        names: Those that are known.
        required: Those of them without a default.
        more: Whether others may be taken as well: ``**kwargs`` go where this cannot be seen, or
            nowhere.
    """

    names: frozenset[str]
    required: frozenset[str]
    more: bool


@functools.cache
def arguments_of(kind: Callable) -> Arguments:
    """The arguments that a class or function takes."""
    if inspect.isclass(kind):
        return _of_class(kind.__mro__)
    return _of_function(kind)[0]


def _of_class(mro: Sequence[type]) -> Arguments:
    """Those of the first constructor in ``mro``, and of the next if ``**kwargs`` go there."""
    place = next((n for n, cls in enumerate(mro) if '__init__' in cls.__dict__), len(mro))
    if place >= len(mro) - 1:  # object's
        return Arguments(frozenset(), frozenset(), more=False)
    init = mro[place].__dict__['__init__']
    own, keywords = _of_function(init)
    own = own._replace(names=own.names - {'self'}, required=own.required - {'self'})
    if not own.more:
        return own
    above = _of_class(mro[place + 1 :])
    calls = _constructors_called_with(init, keywords)
    required = own.required
    if calls and not any(call.args or len(call.keywords) > 1 for call in calls):
        required |= above.required - own.names
    return Arguments(own.names | above.names, required, above.more if calls else True)


def _of_function(function: Callable) -> tuple[Arguments, str]:
    """Its arguments, and what it calls the rest."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a builtin
        return Arguments(frozenset(), frozenset(), more=True), ''
    named = [parameter for parameter in parameters if parameter.kind in _BY_NAME]
    rest = [one.name for one in parameters if one.kind is inspect.Parameter.VAR_KEYWORD]
    # A decorator may take other names than what it wraps: `deprecated_api_warning` of MMEngine.
    more = bool(rest) or hasattr(function, '__wrapped__')
    names = frozenset(parameter.name for parameter in named)
    required = frozenset(one.name for one in named if one.default is inspect.Parameter.empty)
    return Arguments(names, required, more), ''.join(rest)


def _constructors_called_with(init: Callable, keywords: str) -> list[ast.Call]:
    """Calls of ``super().__init__(..., **keywords)``; none if ``keywords`` are used otherwise."""
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):  # no source
        return []
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == keywords]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_super(node.func)]
    passed = [call for call in calls if any(_is_rest(one, keywords) for one in call.keywords)]
    return passed if len(used) == len(passed) else []


def _is_super(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Call(func=ast.Name(id='super')), attr='__init__'):
            return True
    return False


def _is_rest(keyword: ast.keyword, name: str) -> bool:
    return keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
