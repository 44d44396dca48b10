"""Fetches weights by address to where ``torch.hub`` keeps them."""

import os
from pathlib import Path
from urllib.parse import urlparse

import torch

from ..downloads import download


def fetch(url: str, folder: str | None = None, progress: bool = True) -> Path:
    """Downloads a file unless it is there already, going on where an earlier call was interrupted.

    Of several processes the first one of each machine does it, and none waits for it. A host that
    does not answer is given up on.

    Args:
        url: Its address.
        folder: To keep it in; that of ``torch.hub`` if None.
        progress: Whether to show how far it is.

    Returns:
        The file.

    Raises:
        UserError: It cannot be fetched; the message says where to put it.
    """
    file = Path(folder or Path(torch.hub.get_dir(), 'checkpoints'))
    file /= os.path.basename(urlparse(url).path)
    if file.exists() or int(os.environ.get('LOCAL_RANK', 0)) > 0:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f'Fetching {url} to {file}', flush=True)
    download(url, file, progress)
    return file
