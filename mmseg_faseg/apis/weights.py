"""Weights that authors released: fetched, converted, and found by name from then on."""

from pathlib import Path

from ..checkpoints.released import FOLDER_VARIABLE, Released
from ..downloads import download
from ..errors import UserError
from ..files import check_folder, make_folder
from .convert import convert_file


def fetch_weights(model: Released) -> Path:
    """Makes a checkpoint of what the authors released, unless that is done already.

    Their file is fetched, unless it lies in the folder of weights: put there by hand, say.

    Returns:
        The checkpoint.

    Raises:
        UserError: The file cannot be fetched, is not the model's, or nothing can be written.
    """
    if model.converted.is_file():
        return model.converted
    folder = model.converted.parent
    check_folder(folder, f'the folder of weights ({FOLDER_VARIABLE})')
    make_folder(folder)
    if not model.original.is_file():
        try:
            download(model.address, model.original)
        except UserError as error:
            raise UserError(f'{error}, and give the same command again') from None
    try:
        convert_file(str(model.original), str(model.converted), model.config)
    except UserError as error:
        raise UserError(
            f'{error}. If {model.original} is not what the authors released, remove it: the same '
            'command fetches it anew'
        ) from None
    return model.converted
