"""Makes an ONNX model of a traced one, and smaller ones of that."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import ExportedProgram

from ..datasets.broken_files import first_line
from ..errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto

# What stays in float32: where a sample lies needs more than 11 bits, and sums over many tokens too.
_PRECISE = ('GridSample', 'Resize', 'ReduceSum', 'ReduceMean', 'LayerNormalization', 'Softmax')


def convert(program: ExportedProgram, name: str, results: Sequence[str]) -> 'ModelProto':
    """Converts a traced model of one input.

    Raises:
        UserError: PyTorch's exporter cannot.
    """
    try:
        with _quiet():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[name],
                output_names=list(results),
            )
            assert converted is not None
            shape = converted.model.graph.inputs[0].shape
            assert shape is not None
            names = zip(shape[2:], ('height', 'width'), strict=True)
            converted.rename_axes({dim: name for dim, name in names if not isinstance(dim, int)})
            return converted.model_proto
    except Exception as error:  # of many kinds, most with a page of advice
        reason = first_line(_first_cause(error))
        raise UserError(
            f'the ONNX exporter of PyTorch does not take this model: {reason}'
        ) from error


def in_half_precision(proto: 'ModelProto') -> 'ModelProto':
    """The same in float16; what goes in and comes out keeps its type."""
    from onnxruntime.transformers import float16

    with _quiet():
        return float16.convert_float_to_float16(
            proto, keep_io_types=True, op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *_PRECISE]
        )


def quantised(proto: 'ModelProto') -> 'ModelProto':
    """The same with the weights of linear layers as int8 and their inputs quantised as they come.

    Convolutions stay: with integers ONNX Runtime takes more than twice as long for them.
    """
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        target = Path(folder, 'int8.onnx')
        quantize_dynamic(proto, target, op_types_to_quantize=['MatMul', 'Gemm'])
        return onnx.load(target)


def save(proto: 'ModelProto', path: Path, results: Sequence[str], info: dict[str, str]) -> None:
    """Writes a model that gives some of its results only, and says more of itself."""
    import onnx
    from onnxscript import ir
    from onnxscript.ir.passes.common import RemoveUnusedNodesPass

    model = ir.from_proto(proto)
    outputs = [output for output in model.graph.outputs if output.name in results]
    model.graph.outputs[:] = outputs
    model.metadata_props.update(info)
    RemoveUnusedNodesPass()(model)
    onnx.save(ir.to_proto(model), path)


def _first_cause(error: BaseException) -> BaseException:
    """The error in which others, with pages of advice, are wrapped."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the tools say on the way, which nobody who exports a model can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action='ignore'), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
