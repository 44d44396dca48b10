"""The tasks: what a model is asked to do, as often as wanted, while it is measured.

Inputs are random, with the same seed for every model.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from .models import PRECISIONS, MeasuredModel, head_name
from .samples import labelled_samples

Size = tuple[int, int]


class Task:
    """Something that a model does.

    Args:
        measured: Where the model comes from.
        model: The model, on its device.

    Attributes:
        title: What tables call it.
        heads: Of which heads it is asked, by their names in a config.
        inference: Whether it runs without gradients.
        whole: Whether the whole model runs, whose parts are then timed.
        counted: What FLOPs are counted of: 'head', 'model' or nothing.
    """

    title: str
    heads: tuple[str, ...] = ('decode_head',)
    inference = True
    whole = False
    counted = ''

    def __init__(self, measured: MeasuredModel, model: nn.Module) -> None:
        self.head_cfg = measured.cfg.model[head_name(measured.cfg.model)]
        self.model = model.train(not self.inference)
        self.device = next(model.parameters()).device
        self.precision = PRECISIONS[measured.precision]

    def inputs(self, size: Size, batch: int) -> Any:
        """Makes what ``forward`` takes, for images of size (H, W) in pixels."""
        raise NotImplementedError

    def forward(self, inputs: Any) -> Any:
        """The forward pass, which runs in the model's precision."""
        raise NotImplementedError

    def backward(self, result: Any) -> Any:
        """What a training task does with the result of ``forward``."""
        return result

    def __call__(self, inputs: Any) -> Any:
        """Does it once."""
        dtype = self.precision.autocast
        with torch.set_grad_enabled(not self.inference), self.precision.float32_products():
            with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
                result = self.forward(inputs)
            return self.backward(result)

    def _random(self, seed: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator).to(self.device)

    def _feature_maps(self, size: Size, batch: int) -> list[Tensor]:
        """Maps (B, C_l, H / s_l, W / s_l), finest first, as a backbone gives them."""
        strides = self.head_cfg.get('strides') or [4, 8, 16, 32]
        return [
            self._random(stride, batch, c, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
            for c, stride in zip(self.head_cfg.in_channels, strides, strict=True)
        ]


class Predict(Task):
    """Head, from the backbone's maps to class scores at the size of the input."""

    title = 'head, features to class scores'
    counted = 'head'

    def inputs(self, size, batch):
        """Feature maps and meta information."""
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
        return self._feature_maps(size, batch), [meta] * batch

    def forward(self, inputs):
        """Returns class scores (B, K, H, W)."""
        features, metas = inputs
        return self.model.decode_head.predict(features, metas, self.model.test_cfg)


class Train(Task):
    """Head, forward and backward through all of its predictions, without the losses.

    Every prediction gets the same fixed random gradient; features get gradients too, as the
    backbone needs them.
    """

    title = 'head, forward and backward of all predictions'
    inference = False

    def inputs(self, size, batch):
        """Feature maps, and the gradients of class and mask logits."""
        features = [x.requires_grad_() for x in self._feature_maps(size, batch)]
        queries, classes = self.head_cfg.num_queries, self.head_cfg.num_classes
        shapes = [(batch, queries, classes + 1), (batch, queries, *features[0].shape[-2:])]
        return features, [self._random(1, *shape) / math.prod(shape) for shape in shapes]

    def forward(self, inputs):
        """Returns all class and mask logits, and the gradient of each."""
        features, gradients = inputs
        self.model.zero_grad()
        for x in features:
            x.grad = None
        samples = [SegDataSample(metainfo=dict()) for _ in features[0]]
        logits = self.model.decode_head(features, samples)
        pairs = [(x, g) for kind, g in zip(logits, gradients, strict=True) for x in kind]
        return tuple(zip(*pairs, strict=True))

    def backward(self, result):
        """Fills the gradients of parameters and features."""
        torch.autograd.backward(*result)


class Segmentor(Task):
    """Segmentor, from normalised image to class map."""

    title = 'segmentor, image to class map'
    whole = True
    counted = 'model'

    def inputs(self, size, batch):
        """Images (B, 3, H, W)."""
        return self._random(0, batch, 3, *size)

    def forward(self, inputs):
        """Returns data samples with ``pred_sem_seg``."""
        size = tuple(inputs.shape[-2:])
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
        return self.model.predict(inputs, [SegDataSample(metainfo=meta) for _ in inputs])


class Detector(Segmentor):
    """Detector, from normalised image to segments or objects."""

    title = 'detector, image to segments'
    heads = ('panoptic_head', 'bbox_head')

    def forward(self, inputs):
        """Returns data samples with what ``test_cfg`` asks for."""
        size = tuple(inputs.shape[-2:])
        meta = dict(ori_shape=size, img_shape=size, batch_input_shape=size)
        return self.model.predict(inputs, [DetDataSample(metainfo=meta) for _ in inputs])


class Merging(Detector):
    """From class and mask logits to segments and objects, as the detector makes them.

    Every query is sure of its class and of its part of the image, so that all become segments.
    """

    title = 'merging, logits to segments'
    heads = ('panoptic_head',)  # Panoptic SegFormer's masks are no logits
    whole = False
    counted = ''

    def __init__(self, measured, model):
        super().__init__(measured, model)
        model.extract_feat = lambda _: None

    def inputs(self, size, batch):
        """Images, of which only the size matters."""
        queries, classes = self.head_cfg.num_queries, self.model.num_classes
        coarse = [math.ceil(length / 32) for length in size]
        owner = self._random(1, batch, queries, *coarse).argmax(1)
        masks = 8.0 * F.one_hot(owner, queries).movedim(-1, 1) - 4
        masks = F.interpolate(masks, [math.ceil(length / 4) for length in size], mode='bilinear')
        labels = torch.arange(queries, device=self.device) % classes
        logits = (8.0 * F.one_hot(labels, classes + 1)).expand(batch, -1, -1)
        head = self.model.panoptic_head
        head.predict_last = lambda _: (logits, masks)
        # MMDetection's detector takes masks at the size of the input.
        head.predict = lambda *_: (logits, F.interpolate(masks, size, mode='bilinear'))
        return super().inputs(size, batch)


class Iteration(Task):
    """Training iteration: losses of labelled images, backward, clipping, AdamW."""

    title = 'training iteration'
    heads = ('decode_head', 'panoptic_head', 'bbox_head')
    inference = False
    whole = True

    def __init__(self, measured, model):
        super().__init__(measured, model)
        params = [param for param in model.parameters() if param.requires_grad]
        settings = dict(
            optimizer=torch.optim.AdamW(params, lr=1e-4, weight_decay=0.05),
            clip_grad=dict(max_norm=0.01),
        )
        if self.precision.autocast is torch.float16:
            # From a scale at which no step is left out for its overflow.
            self.optimizer = AmpOptimWrapper(loss_scale=dict(init_scale=1024.0), **settings)
        else:
            self.optimizer = OptimWrapper(**settings)

    def inputs(self, size, batch):
        """Images, and data samples with label maps or segments."""
        samples = labelled_samples(self.head_cfg, size, batch)
        return self._random(0, batch, 3, *size), [sample.to(self.device) for sample in samples]

    def forward(self, inputs):
        """Returns the sum of all losses."""
        return self.model.parse_losses(self.model.loss(*inputs))[0]

    def backward(self, result):
        """Changes the weights."""
        self.optimizer.update_params(result)


TASKS: dict[str, type[Task]] = {
    'predict': Predict,
    'train': Train,
    'segmentor': Segmentor,
    'detector': Detector,
    'merging': Merging,
    'iteration': Iteration,
}
