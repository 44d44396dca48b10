"""Batches of images of different sizes, on which MMSegmentation's segmentors trip in testing."""

from collections.abc import Callable

from mmseg.models import EncoderDecoder
from mmseg.utils import SampleList


def predict_mixed_batches() -> None:
    """Has every ``EncoderDecoder`` predict batches of mixed sizes. Calling it twice is harmless.

    Images of different sizes are predicted one after the other, each with the result that it has
    alone. Training, which pads such images, and batches of one size stay as they are.
    """
    for name in ('val_step', 'test_step'):
        if name not in vars(EncoderDecoder):
            setattr(EncoderDecoder, name, _one_size_at_a_time(getattr(EncoderDecoder, name), name))


def _one_size_at_a_time(inherited: Callable, name: str) -> Callable:
    def step(self: EncoderDecoder, data: dict | tuple | list) -> SampleList:
        if not isinstance(data, dict):
            return inherited(self, data)
        inputs = data.get('inputs', ())
        if len({image.shape for image in inputs}) <= 1:
            return inherited(self, data)
        results: SampleList = []
        for i in range(len(inputs)):
            alone = {key: values and values[i : i + 1] for key, values in data.items()}
            results += inherited(self, alone)
        return results

    step.__name__, step.__doc__ = name, inherited.__doc__
    return step
