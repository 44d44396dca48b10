"""Makes of a training checkpoint what others need: weights and meta, named by their hash."""

import hashlib
import io
import re
import shutil
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..compat.safetensors import save_safetensors
from ..errors import UserError, reason_of
from ..files import check_output
from .read import read_checkpoint

_HASH = re.compile(r'-[0-9a-f]{8}$')


def publish_model(source: str | Path, target: str | Path) -> tuple[Path, Path]:
    """Writes a checkpoint's weights and ``meta`` to files named by their content.

    Everything else goes, ``ema_state_dict`` included: MMEngine's ``EMAHook`` saves the averaged
    weights, which are tested, as ``state_dict``, and the ones it trains on as ``ema_state_dict``.
    What was removed and the sizes are printed.

    Args:
        source: Checkpoint of MMEngine's.
        target: ``PATH.pth``; the first 8 digits of each file's SHA-256 are put into its name, in
            the place of such a suffix if there is one.

    Returns:
        The files written: ``PATH-1a2b3c4d.pth`` and ``PATH-5e6f7a8b.safetensors``.

    Raises:
        UserError: The source holds no weights, or something that may not or cannot be published,
            or is published already; the target cannot be written. Nothing was written.
    """
    source, target = Path(source).expanduser(), Path(target)
    check_output(target, '.pth')
    checkpoint = read_checkpoint(source)
    if source.stem.endswith(f'-{_hash_of(source)}'):
        raise UserError(f'{source} is published already: its name carries its own hash')
    published = dict(meta=_meta_of(checkpoint, source), state_dict=_weights_of(checkpoint, source))
    removed = {key: _size_of(value) for key, value in checkpoint.items() if key not in published}
    files = _write(published, source, target)
    for key, size in removed.items():
        print(f'removed {key}: {_spelled(size)}')
    print(f'in      {source}: {_spelled(source.stat().st_size)}')
    for file in files:
        print(f'out     {file}: {_spelled(file.stat().st_size)}')
    return files


def _meta_of(checkpoint: dict[str, Any], source: Path) -> dict[str, Any]:
    meta = checkpoint.get('meta', {})
    if not isinstance(meta, dict):
        raise UserError(f'{source}: its meta is a {type(meta).__name__}, not a dict')
    return meta


def _weights_of(checkpoint: dict[str, Any], source: Path) -> OrderedDict[str, Tensor]:
    """The weights as MMEngine loads them, each in memory of its own."""
    weights = checkpoint.get('state_dict')
    named = isinstance(weights, dict) and all(isinstance(key, str) for key in weights)
    if not named or not weights:
        entries = ', '.join(map(str, [*checkpoint][:5])) or 'none'
        raise UserError(f'{source} has no weights in state_dict; its entries are: {entries}')
    own = OrderedDict(
        (key.removeprefix('module.'), _own(value, f'{source}: {key}'))
        for key, value in weights.items()
    )
    # PyTorch keeps its modules' versions there
    own._metadata = getattr(weights, '_metadata', OrderedDict())  # type: ignore[attr-defined]
    return own


def _own(value: Any, name: str) -> Tensor:
    """A copy: a view would bring along all it is a view of, and tied weights each other."""
    if not isinstance(value, Tensor):
        raise UserError(f'{name} is a {type(value).__name__}, not a tensor')
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise UserError(f'{name} is a sparse, quantized or meta tensor: only dense ones are saved')
    return value.detach().clone(memory_format=torch.contiguous_format)


def _write(published: dict[str, Any], source: Path, target: Path) -> tuple[Path, Path]:
    """Writes both files beside the target and gives them their names when both are complete."""
    stem = _HASH.sub('', target.stem)
    try:
        with TemporaryDirectory(dir=target.parent, prefix=f'.{stem}.') as folder:
            whole = [Path(folder, f'published{suffix}') for suffix in ('.pth', '.safetensors')]
            torch.save(published, whole[0])
            save_safetensors(published, whole[1])
            shutil.copymode(*whole)  # safetensors are written for the owner's eyes only
            names = [target.with_name(f'{stem}-{_hash_of(file)}{file.suffix}') for file in whole]
            weights, safetensors = (file.replace(n) for file, n in zip(whole, names, strict=True))
    except TypeError as error:
        raise UserError(f'{source}: {error}') from None
    except (OSError, RuntimeError) as error:  # PyTorch's own writer raises the latter
        raise UserError(f'{target} cannot be written: {reason_of(error)}') from None
    return weights, safetensors


class _ByteCount(io.RawIOBase):
    """A file that keeps nothing but its size."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def _size_of(value: Any) -> int:
    count = _ByteCount()
    torch.save(value, count)  # type: ignore[arg-type]  # it needs no more than `write`
    return count.size


def _spelled(size: int) -> str:
    return f'{size / 1e6:,.1f} MB' if size >= 1e6 else f'{size / 1e3:,.1f} kB'


def _hash_of(file: Path) -> str:
    """As OpenMMLab and ``torch.hub`` put it into names: 8 digits of the file's SHA-256."""
    with open(file, 'rb') as content:
        return hashlib.file_digest(content, 'sha256').hexdigest()[:8]
