"""The kinds of file that a segmentor becomes, and how each is run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from . import onnx_model
from .picture_model import PictureModel
from .program import trace

INPUT, CLASS_MAP, SCORES = 'image', 'class_map', 'scores'
# From a picture (1, 3, H, W) uint8 to the class map (1, H, W), and class scores (1, K, H, W) if the
# file gives them.
Run = Callable[[np.ndarray], list[np.ndarray]]
# Height and width of the pictures; None for all sizes.
Sizes = tuple[int, int] | None


class Format(ABC):
    """A segmentor ready to be written.

    Args:
        model: A :class:`.PictureModel` that gives scores, in evaluation mode, on the CPU.
        size: Of the pictures.
        precision: 'fp32', 'fp16' or 'int8'.
        info: What to say of the model in the file: JSON texts by name.
    """

    packages: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ('fp32',)

    def __init__(
        self, model: PictureModel, size: Sizes, precision: str, info: dict[str, str]
    ) -> None:
        self.model, self.size, self.precision, self.info = model, size, precision, info

    @abstractmethod
    def write(self, path: Path, scores: bool) -> None:
        """Writes a file, which gives class scores too if asked for."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> Run:
        """What runs such a file on as many threads as PyTorch has."""


class TorchExport(Format):
    """``.pt2``, for ``torch.export.load``."""

    def write(self, path: Path, scores: bool) -> None:
        """Traces, once for each kind of result, and writes."""
        model = PictureModel(self.model.segmentor, self.model.resize, scores).eval()
        files = {f'{name}.json': text for name, text in self.info.items()}
        torch.export.save(trace(model, self.size), path, extra_files=files)

    @staticmethod
    def load(path: Path) -> Run:
        """Runs in PyTorch."""
        module = torch.export.load(path).module()

        @torch.no_grad()
        def run(picture: np.ndarray) -> list[np.ndarray]:
            results = module(torch.from_numpy(picture))
            return [x.numpy() for x in (results if isinstance(results, tuple) else (results,))]

        return run


class Onnx(Format):
    """``.onnx``."""

    packages: tuple[str, ...] = ('onnx', 'onnxscript', 'onnxruntime')
    precisions: tuple[str, ...] = ('fp32', 'fp16', 'int8')

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        proto = onnx_model.convert(trace(self.model, self.size), INPUT, [CLASS_MAP, SCORES])
        if self.precision == 'fp16':
            proto = onnx_model.in_half_precision(proto)
        elif self.precision == 'int8':
            proto = onnx_model.quantised(proto)
        self.proto = proto

    def write(self, path: Path, scores: bool) -> None:
        """Writes one file, the weights in it."""
        results = [CLASS_MAP, SCORES] if scores else [CLASS_MAP]
        onnx_model.save(self.proto, path, results, self.info)

    @staticmethod
    def load(path: Path) -> Run:
        """Runs in ONNX Runtime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        return lambda picture: session.run(None, {INPUT: picture})


class OpenVino(Onnx):
    """``.xml`` and, beside it, the weights in ``.bin``: made from the ONNX file."""

    packages = ('onnx', 'onnxscript', 'openvino')
    precisions = ('fp32', 'fp16')

    def __init__(self, model: PictureModel, size: Sizes, precision: str, info: dict) -> None:
        super().__init__(model, size, 'fp32', info)
        self.compress = precision == 'fp16'

    def write(self, path: Path, scores: bool) -> None:
        """Writes both files."""
        import openvino

        with TemporaryDirectory() as folder:
            source = Path(folder, 'model.onnx')
            super().write(source, scores)
            model = openvino.convert_model(source)
        for name, text in self.info.items():
            model.set_rt_info(text, ['model_info', name])
        openvino.save_model(model, path, compress_to_fp16=self.compress)

    @staticmethod
    def load(path: Path) -> Run:
        """Runs in OpenVINO on the CPU."""
        import openvino

        settings = dict(
            INFERENCE_NUM_THREADS=torch.get_num_threads(), INFERENCE_PRECISION_HINT='f32'
        )
        compiled = openvino.compile_model(path, 'CPU', settings)
        return lambda picture: list(compiled(picture).values())


FORMATS: dict[str, type[Format]] = {'.onnx': Onnx, '.pt2': TorchExport, '.xml': OpenVino}
