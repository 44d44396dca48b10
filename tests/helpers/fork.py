"""Which of the two stacks is installed."""

from importlib.metadata import PackageNotFoundError, version


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


IS_FORK = _installed('onedl-mmengine')
