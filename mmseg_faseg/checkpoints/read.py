"""Reads checkpoints, and says in one line why one is refused."""

import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..compat.checkpoints import load_from_local
from ..compat.safetensors import load_from_safetensors
from ..errors import UserError

_BEGINNINGS = (b'PK', b'\x80')  # of torch.save's zip files, and of the pickles before them


def check_checkpoint(name: str) -> None:
    """Checks that a checkpoint given by path exists and begins like one, without reading it.

    Addresses are left to MMEngine.

    Raises:
        UserError: There is no such file, or it is of another kind.
    """
    if '://' in name:
        return
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f'there is no checkpoint {name}')
    with path.open('rb') as file:
        begin = file.read(2)
    if begin and path.suffix != '.safetensors' and not begin.startswith(_BEGINNINGS):
        raise UserError(f'{name} is not loaded: it is no checkpoint of torch.save')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint from a file. Nothing that the file contains can run code.

    Args:
        path: A file written by ``torch.save``, or one ending in ``.safetensors``.

    Returns:
        Its entries, tensors on the CPU. Those of MMEngine have ``state_dict`` and ``meta``.

    Raises:
        UserError: The file is missing, cut off or no checkpoint, or holds objects other than
            weights and what MMEngine stores beside them.
    """
    if '://' in str(path):
        raise UserError(f'{path} is an address: fetch the file first')
    check_checkpoint(str(path))
    try:
        with refused_checkpoints(str(path)):
            checkpoint = _load(Path(path).expanduser())
    except UserError:
        raise
    except Exception as error:  # whatever a decoder raises, the file is what matters
        raise UserError(
            f'{path} is not loaded: it is cut off, unreadable or no checkpoint '
            f'({type(error).__name__}: {error})'.splitlines()[0]
        ) from None
    if not isinstance(checkpoint, dict):
        raise UserError(f'{path} is no checkpoint: it holds a {type(checkpoint).__name__}')
    return checkpoint


@contextmanager
def refused_checkpoints(name: str | None) -> Iterator[None]:
    """Says in one line which file was refused, and for which of its contents."""
    try:
        yield
    except EOFError:
        raise UserError(f'{name} is not loaded: it is empty or cut off') from None
    except RuntimeError as error:
        if 'PytorchStreamReader' not in str(error):
            raise
        raise UserError(f'{name} is not loaded: it is cut off or no checkpoint') from None
    except SafetensorError as error:
        raise UserError(
            f'{name} is not loaded: it is cut off or no safetensors file ({error})'
        ) from None
    except pickle.UnpicklingError as error:
        foreign = re.search(r'GLOBAL (\S+)', str(error))
        if foreign is None:
            found = re.search(r'WeightsUnpickler error:\s*(.+)', str(error))
            detail = f' ({found[1]})' if found else ''
            raise UserError(
                f'{name} is not loaded: it is cut off or no checkpoint{detail}'
            ) from None
        raise UserError(
            f'{name} is not loaded: it asks for {foreign[1]}, but may hold only weights and what '
            'MMEngine stores beside them'
        ) from None


def _load(path: Path) -> Any:
    if path.suffix == '.safetensors':
        return load_from_safetensors(str(path))
    with warnings.catch_warnings(action='ignore'):  # about bytes that are no checkpoint
        return load_from_local(path, map_location='cpu', weights_only=True)
