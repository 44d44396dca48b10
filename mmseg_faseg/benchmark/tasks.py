"""The tasks: what a model is asked to do while it is measured."""

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from ..apis import UserError
from ..models.ops.cuda_graphs import CudaGraphs
from .inputs import label_maps
from .literal import LiteralDecoder, check_literal
from .task import Task


class Predict(Task):
    """Head, from the backbone's maps to class scores at the size of the input."""

    def __init__(self, subject, model):
        super().__init__(subject, model)
        if subject.has_cuda_graphs:
            # FASegSegmentor would record the backbone with it.
            graphs, head = CudaGraphs(), model.decode_head
            predict_masks = head.predict_masks
            head.predict_masks = lambda maps: graphs(head, lambda *x: predict_masks(x), *maps)

    def inputs(self, size, batch):
        """Feature maps and meta information."""
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
        return self._features(size, batch), [meta] * batch

    def run(self, inputs):
        """Returns class scores (B, K, H, W)."""
        features, metas = inputs
        with self.autocast():
            return self.model.decode_head.predict(features, metas, self.model.test_cfg)

    def class_maps(self, result):
        """Class ids (B, H, W)."""
        return result.argmax(1)


class Train(Task):
    """Head, forward and backward through all of its predictions, without the losses.

    Every prediction gets the same fixed random gradient; features get gradients too, as the
    backbone needs them.
    """

    inference = False

    def inputs(self, size, batch):
        """Feature maps, and the gradients of class and mask logits."""
        features = [x.requires_grad_() for x in self._features(size, batch)]
        queries, classes = self.head_cfg.num_queries, self.head_cfg.num_classes
        shapes = [(batch, queries, classes + 1), (batch, queries, *features[0].shape[-2:])]
        generator = torch.Generator().manual_seed(1)
        gradients = [torch.randn(shape, generator=generator).to(self.device) for shape in shapes]
        return features, [gradient / gradient.numel() for gradient in gradients]

    def run(self, inputs):
        """Fills the gradients of parameters and features."""
        features, gradients = inputs
        self.model.zero_grad()
        for x in features:
            x.grad = None
        samples = [SegDataSample(metainfo=dict()) for _ in features[0]]
        with self.autocast():
            logits = self.model.decode_head(features, samples)
        torch.autograd.backward(
            [x for kind in logits for x in kind],
            [g for kind, g in zip(logits, gradients, strict=True) for _ in kind],
        )


class Segmentor(Task):
    """Segmentor, from normalised image to class map."""

    def inputs(self, size, batch):
        """Images (B, 3, H, W)."""
        return self._images(size, batch)

    def run(self, inputs):
        """Returns data samples."""
        size = tuple(inputs.shape[-2:])
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
        samples = [SegDataSample(metainfo=meta) for _ in inputs]
        with self.autocast():
            return self.model.predict(inputs, samples)

    def class_maps(self, result):
        """Class ids (B, H, W)."""
        return torch.cat([sample.pred_sem_seg.data for sample in result])


class Iteration(Task):
    """Training iteration: losses of labelled images, backward, clipping, AdamW."""

    inference = False

    @classmethod
    def check(cls, subject, sizes):
        """The head must know how to match and supervise."""
        if not subject.cfg.model.decode_head.get('train_cfg'):
            raise UserError(f'task iteration: {subject.name} has no decode_head.train_cfg')

    def __init__(self, subject, model):
        super().__init__(subject, model)
        params = [param for param in model.parameters() if param.requires_grad]
        optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.05)
        clip_grad = dict(max_norm=0.01)
        if self.precision.autocast is torch.float16:
            # The scaled gradients are MMEngine's; autocast is entered here, as for every task.
            # From a scale at which no step is left out for its overflow.
            self.optimizer = AmpOptimWrapper(
                loss_scale=dict(init_scale=1024.0), optimizer=optimizer, clip_grad=clip_grad
            )
        else:
            self.optimizer = OptimWrapper(optimizer, clip_grad=clip_grad)

    def inputs(self, size, batch):
        """Images, and data samples with label maps."""
        samples = []
        for labels in label_maps(self.head_cfg.num_classes, size, batch).to(self.device):
            sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
            sample.gt_sem_seg = PixelData(data=labels[None])
            samples.append(sample)
        return self._images(size, batch), samples

    def run(self, inputs):
        """Changes the weights."""
        with self.autocast():
            loss, _ = self.model.parse_losses(self.model.loss(*inputs))
        self.optimizer.update_params(loss)


class Decoder(Task):
    """Transformer decoder and the last prediction, from the pixel decoder's output."""

    @classmethod
    def check(cls, subject, sizes):
        """The formulas are written out for FASeg as released, on levels of equal blocks."""
        check_literal(subject.cfg)
        for height, width in sizes:
            if height % 32 or width % 32:
                raise UserError(
                    f'task decoder: --size must be multiples of 32, got {height} x {width}'
                )

    def __init__(self, subject, model):
        super().__init__(subject, model)
        self.pixel_decoder = model.decode_head.pixel_decoder

    def inputs(self, size, batch):
        """Feature maps, and what the pixel decoder makes of them.

        For the formulas that includes the mask features, a convolution of the finest features
        which the head folds into its mask embeddings.
        """
        features = self._features(size, batch)
        with torch.no_grad():
            finest, *others = self.pixel_decoder(features)
            if self.subject.literal:
                finest = self.pixel_decoder.mask_feature(finest)
        return features, (finest, *others)

    def run(self, inputs):
        """Returns class probabilities (B, Q, K) and mask logits (B, Q, H / 4, W / 4)."""
        features, decoded = inputs
        head = self.model.decode_head
        if self.subject.literal:
            literal = LiteralDecoder(head, self.head_cfg.mask_threshold)
            with self.autocast():
                return literal.predict_masks(*decoded)
        self.pixel_decoder.forward = lambda _: decoded
        try:
            with self.autocast():
                return head.predict_masks(features)
        finally:
            del self.pixel_decoder.forward


TASKS: dict[str, type[Task]] = {
    'predict': Predict,
    'train': Train,
    'segmentor': Segmentor,
    'iteration': Iteration,
    'decoder': Decoder,
}
