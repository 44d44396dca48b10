"""``faseg weights``: the authors' files by name."""

from typing import Annotated

from typer import Argument, Option


def weights(
    name: Annotated[str | None, Argument(help='Of a released model.')] = None,
    listing: Annotated[bool, Option('--list', help='List the names, as without one.')] = False,
) -> None:
    """Fetch released weights, convert them, keep them: from then on their name is a checkpoint.

    They lie in the user's cache, or in the folder that MMSEG_FASEG_WEIGHTS names. An interrupted
    download goes on. Without a network, put the authors' file there by hand.

    **Examples**

    - `faseg weights --list`
    - `faseg weights faseg_swin-t_ade20k`
    - `faseg predict faseg_swin-t_ade20k photos/ --out out/`
    """
    from ..checkpoints.released import find_released, released_models, weights_folder

    if listing or name is None:
        for model in released_models().values():
            there = 'here' if model.converted.is_file() else 'not fetched'
            print(f'{model.name:46} {there:12} {model.licence:13} {model.address}')
        print(f'kept in {weights_folder()}')
        return
    from ..apis.convert import LICENCES
    from ..apis.weights import fetch_weights

    model = find_released(name)
    print(LICENCES[model.method], flush=True)
    if not model.converted.is_file() and not model.original.is_file():
        print(f'fetching  {model.address}', flush=True)
    print(f'checkpoint {fetch_weights(model)}, or {name} for short')
