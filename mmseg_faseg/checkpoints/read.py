"""Reads checkpoints, and says in one line why one is refused."""

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..compat.checkpoints import load_from_local
from ..compat.torch_files import check_torch_file
from ..errors import UserError


def check_checkpoint(name: str) -> None:
    """Checks that a checkpoint given by path exists and begins like one, without reading it.

    Addresses are left to MMEngine.

    Raises:
        UserError: There is no such file, or it is of another kind.
    """
    if '://' in name:
        return
    path = Path(name).expanduser()
    if not os.path.isfile(path):  # which takes names of any length
        raise UserError(f'there is no checkpoint {name}')
    if path.suffix != '.safetensors':
        check_torch_file(path)


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
    checkpoint = load_from_local(path, map_location='cpu')
    if not isinstance(checkpoint, dict):
        raise UserError(f'{path} is no checkpoint: it holds a {type(checkpoint).__name__}')
    return checkpoint


@contextmanager
def refused_checkpoints(name: str | None) -> Iterator[None]:
    """Says in one line which checkpoint was refused, where another loader than ours reads it.

    MMEngine fetches from some stores with ``torch.load``, whose message would advise to switch its
    protection off.
    """
    try:
        yield
    except (pickle.UnpicklingError, EOFError) as error:
        foreign = re.search(r'GLOBAL (\S+)', str(error))
        reason = f'it asks for {foreign[1]}' if foreign else 'it is cut off or no checkpoint'
        raise UserError(f'{name} is not loaded: {reason}') from None
    except RuntimeError as error:
        if not re.search('PytorchStreamReader|weights_only|Invalid magic number', str(error)):
            raise
        raise UserError(f'{name} is not loaded: it is cut off or no checkpoint') from None
