"""The models whose weights their authors released, and where these lie here."""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import platformdirs
import yaml

from ..errors import UserError

FOLDER_VARIABLE = 'MMSEG_FASEG_WEIGHTS'
_METAFILE = Path(__file__).parents[1] / '.mim' / 'configs' / 'metafile.yaml'


class Released(NamedTuple):
    """A model of the metafile.

    Attributes:
        name: Its name, that of its config.
        method: What :data:`mmseg_faseg.apis.convert.LICENCES` has its licence under.
        licence: The licence in short.
        address: Of the authors' file.
    """

    name: str
    method: str
    licence: str
    address: str

    @property
    def config(self) -> str:
        """Its config, by name."""
        return f'mmseg_faseg::{self.name}.py'

    @property
    def original(self) -> Path:
        """Where the authors' file lies here, fetched or put by hand."""
        return weights_folder() / self.address.rpartition('/')[2]

    @property
    def converted(self) -> Path:
        """Where the checkpoint that is made of it lies."""
        return weights_folder() / f'{self.name}.pth'


def weights_folder() -> Path:
    """The user's cache, or the folder that ``MMSEG_FASEG_WEIGHTS`` names."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path('mmseg_faseg') / 'weights'


def released_models() -> dict[str, Released]:
    """All of them by name, in the metafile's order."""
    models = {}
    for model in yaml.safe_load(_METAFILE.read_text())['Models']:
        source = model['Converted From']
        address = f'{source["Code"]}/releases/download/{source["Release"]}/{source["File"]}'
        name = model['Name']
        models[name] = Released(name, model['In Collection'], source['License'], address)
    return models


def find_released(name: str) -> Released:
    """One of them.

    Raises:
        UserError: There is none of that name.
    """
    models = released_models()
    if name not in models:
        close = difflib.get_close_matches(name, models, n=1)
        hint = f'did you mean {close[0]!r}?' if close else f'there are {", ".join(models)}'
        raise UserError(f'no weights of {name!r} were released: {hint}')
    return models[name]
