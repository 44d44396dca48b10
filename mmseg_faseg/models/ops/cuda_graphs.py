"""CUDA graphs: what a network launches is recorded once, then launched again all at once.

At small inputs a GPU may be done with a kernel before Python has launched the next one.
"""

import functools
import logging
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

Outputs = tuple[Tensor, ...]
_MAX_SEEN = 1024


class CudaRecorder:
    """Records what a function launches, as a :class:`torch.cuda.CUDAGraph`."""

    device_type = 'cuda'

    def is_recording(self) -> bool:
        """Whether somebody else is recording."""
        return torch.cuda.is_current_stream_capturing()

    def record(
        self, run: Callable[[], Outputs], device: torch.device, pool: Any
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
        recorder: CudaRecorder,
        function: Callable[..., Outputs],
        inputs: Outputs,
        pool: Any,
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


class CudaGraphs:
    """Runs a function of tensors as CUDA graphs, one for each kind of inputs.

    Inputs are of one kind if their shapes, types and device agree, and autocast and the precision
    of products with them. The first call with a kind runs the function as it is, the second
    records a graph, later ones replay it: a size that comes once costs nothing. Without the
    benefit of graphs the function runs while gradients are on, while any part of its module
    trains, within ``torch.compile``, exports and traces, and on other devices than a GPU.

    A graph reads the weights where they lay when it was recorded. Where they changed in place
    (``load_state_dict``, an optimiser's step) it sees the new values; when they moved (``to``,
    ``half``, a replaced parameter) the next call drops all graphs, and with them the memory of the
    old weights. It knows nothing of attributes that are set and hooks that are registered later;
    :meth:`clear` drops the graphs by hand.

    Outputs are copies, which later calls leave alone. One call at a time, on one stream. Deep
    copies and pickles have no graphs yet.

    Args:
        max_graphs: How many are kept; the one that was not used for longest makes room.
        recorder: Records and replays.
    """

    def __init__(self, max_graphs: int = 16, recorder: CudaRecorder | None = None) -> None:
        if max_graphs < 1:
            raise ValueError(f'max_graphs must be at least 1, got {max_graphs}')
        self.max_graphs = max_graphs
        self.recorder = recorder or CudaRecorder()
        self._failed = self._warned = False
        self.clear()

    def __reduce__(self) -> tuple:
        return type(self), (self.max_graphs, self.recorder)

    def clear(self) -> None:
        """Drops all graphs and gives their memory back to PyTorch."""
        self._graphs: OrderedDict[tuple, RecordedFunction] = OrderedDict()
        self._seen: OrderedDict[tuple, None] = OrderedDict()
        self._addresses: list[int] | None = None
        self._weights: list[Tensor] = []

    def __call__(
        self, module: nn.Module, function: Callable[..., Outputs], *inputs: Tensor
    ) -> Outputs:
        """Computes ``function(*inputs)``.

        Args:
            module: Whose parameters and buffers the function reads.
            function: Always the same one. Takes and returns tensors, and keeps none for the next
                call.
            *inputs: On one device.

        Returns:
            What the function returns.
        """
        if module.training or not self._is_possible(inputs):
            return function(*inputs)
        kind = _kind(inputs)
        outputs: Any = self._graphs[kind].replay(inputs) if kind in self._graphs else None
        if not self._still_hold(module):  # looked up while the GPU is at work
            return function(*inputs)
        if kind in self._graphs:
            self._graphs.move_to_end(kind)
            return outputs
        if not self._was_seen(kind):
            return function(*inputs)
        try:
            self._record(kind, function, inputs)
        except Exception as error:  # a network of the user's own may do anything
            self._give_up(error)
        return function(*inputs) if self._failed else self._graphs[kind].replay(inputs)

    def _still_hold(self, module: nn.Module) -> bool:
        """Whether graphs of this module may be used; drops those whose weights have moved."""
        tensors = _tensors(module)
        if tensors is None:
            self.clear()
            return False
        addresses = [x.data_ptr() for x in tensors]
        if addresses != self._addresses:
            self.clear()
            self._addresses = addresses
            # Until the next look nothing else may take their memory.
            self._weights = [x.detach() for x in tensors]
        return True

    def _is_possible(self, inputs: tuple[Tensor, ...]) -> bool:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        if self._failed or torch.is_grad_enabled():
            return False
        device = inputs[0].device
        if device.type != self.recorder.device_type:
            if not self._warned:
                self._warned = True
                _warn(f'model.cuda_graphs=True has no effect on {device}: it needs a GPU')
            return False
        # FakeTensor and its like have no data to record with.
        return all(type(x) is Tensor for x in inputs) and not self.recorder.is_recording()

    def _was_seen(self, kind: tuple) -> bool:
        if kind in self._seen:
            del self._seen[kind]  # once its graph is dropped, it has to come twice again
            return True
        self._seen[kind] = None
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return False

    def _record(self, kind: tuple, function: Callable[..., Outputs], inputs: Outputs) -> None:
        # A pool lives as long as one of its graphs: room is made afterwards.
        pool = next(iter(self._graphs.values())).graph.pool() if self._graphs else None
        self._graphs[kind] = RecordedFunction(self.recorder, function, inputs, pool)
        if len(self._graphs) > self.max_graphs:
            self._graphs.popitem(last=False)

    def _give_up(self, error: BaseException) -> None:
        self._failed = True
        self.clear()
        while error.__context__ is not None:  # the end of a failed recording fails as well
            error = error.__context__
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _warn(
            f'The network cannot be recorded as a CUDA graph ({reason}; {where.filename}, line '
            f'{where.lineno}) and runs without: set model.cuda_graphs=False'
        )


def _tensors(module: nn.Module) -> list[Tensor] | None:
    """All parameters and buffers; None if a part of the module is in training.

    Asked for at every call: ``parameters()``, ``buffers()`` and ``modules()`` take longer.
    """
    tensors: list[Tensor] = []
    parts = [module]
    for part in parts:  # grows on the way
        if part.training:
            return None
        for held in (part._parameters, part._buffers):
            tensors.extend(x for x in held.values() if x is not None)
        parts.extend(x for x in part._modules.values() if x is not None)
    return tensors


def _kind(inputs: Outputs) -> tuple:
    """What decides which kernels run, besides the module."""
    device_type = inputs[0].device.type
    return (
        *((x.shape, x.dtype, x.device) for x in inputs),
        torch.is_autocast_enabled(device_type) and torch.get_autocast_dtype(device_type),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        *_float32_products(),
    )


def _float32_products() -> tuple:
    """The precision of float32 matrix products and convolutions on a GPU."""
    try:
        cudnn: Any = torch.backends.cudnn
        return torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision
    except AttributeError:  # before PyTorch 2.9
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
