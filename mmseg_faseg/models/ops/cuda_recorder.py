"""Recording what a function launches on a GPU."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


class RecordedFunction:
    """A recording with the tensors that it reads and writes.

    Args:
        recorder: Makes it.
        function: Takes and returns tensors.
        inputs: Of the shapes that it shall take.
        pool: See :meth:`CudaRecorder.record`.
    """

    def __init__(
        self,
        recorder: 'CudaRecorder',
        function: Callable[..., Outputs],
        inputs: Outputs,
        pool: tuple | None,
    ) -> None:
        device = inputs[0].device
        self.inputs = static = [x.clone() for x in inputs]
        autocast = functools.partial(
            torch.autocast,
            device.type,
            dtype=torch.get_autocast_dtype(device.type),
            enabled=torch.is_autocast_enabled(device.type),
            cache_enabled=False,  # a cast kept from before would hold old weights
        )

        def run() -> Outputs:
            with autocast():
                return function(*static)

        self.graph, self.outputs = recorder.record(run, device, pool)

    def replay(self, inputs: Outputs) -> Outputs:
        """The outputs for these inputs, copied: the next replay of any graph overwrites them."""
        for target, given in zip(self.inputs, inputs, strict=True):
            target.copy_(given)
        self.graph.replay()
        return tuple(x.clone() for x in self.outputs)


class CudaRecorder:
    """Records what a function launches, as a :class:`torch.cuda.CUDAGraph`."""

    device_type = 'cuda'

    def is_recording(self) -> bool:
        """Whether somebody else is recording."""
        return torch.cuda.is_current_stream_capturing()

    def record(
        self, run: Callable[[], Outputs], device: torch.device, pool: tuple | None
    ) -> tuple[torch.cuda.CUDAGraph, Outputs]:
        """Records a function, after running it outside of the recording.

        Args:
            run: The function.
            device: Where it runs.
            pool: Memory pool of another graph that is never replayed at the same time, to share.

        Returns:
            The graph, and the tensors that its ``replay`` fills.
        """
        stream = _side_stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        try:
            with torch.cuda.stream(stream):
                _warm_up(run)
                graph = torch.cuda.CUDAGraph()
                # A data loader's thread pins memory meanwhile: only this thread is recorded.
                with torch.cuda.graph(graph, pool, stream, capture_error_mode='thread_local'):
                    outputs = run()
        finally:
            torch.cuda.current_stream(device).wait_stream(stream)
        return graph, outputs


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream to record on; one, because memory and workspaces belong to streams."""
    return torch.cuda.Stream(device)


def _warm_up(run: Callable[[], Outputs]) -> None:
    """Makes what is made at first use, and raises RuntimeError if the function waits for the GPU.

    That could not be recorded, and a recording that fails leaves PyTorch's allocator in disorder
    (mended in PyTorch by its pull request 180395).
    """
    run()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action='ignore'):  # that this mode is a prototype
        torch.cuda.set_sync_debug_mode('error')
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode(before)
