from collections.abc import Iterator

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ...compat.tta import scores_kept
from ...registry import register


@register
class FASegTTAModel(BaseTTAModel):
    """Multi-scale and flip testing: class scores are averaged as they are.

    MMSegmentation's ``SegTTAModel`` puts a softmax over the scores first, which FASeg's, sums of
    probabilities over queries, do not want. The views of an image are passed through the model
    one after the other into a running sum, so no more than two maps of class scores
    (K, H, W) are alive at a time, however many scales there are.

    Wraps :class:`FASegSegmentor`, and any segmentor of MMSegmentation whose predictions hold
    ``seg_logits``. The scores stay in the result, as ``seg_logits``, only where the wrapped
    segmentor was built with ``keep_scores=True``.

    Args:
        module (dict or nn.Module): The segmentor, or its config.
        data_preprocessor (dict, optional): Pre-processor for a segmentor config without one.
    """

    @torch.no_grad()
    def test_step(self, data: dict | tuple | list) -> list[SegDataSample]:
        """Segment a batch of images, each given in several views.

        Args:
            data (dict or tuple or list): What ``TestTimeAug`` and ``pseudo_collate`` make:
                ``inputs`` and ``data_samples``, each a list over views of lists over images.

        Returns:
            list[SegDataSample]: One per image, with ``pred_sem_seg`` (1, H, W) at its original
            size, and the annotation and meta information of the first view.
        """
        results, totals, num_views = [], [], 0
        with scores_kept(self.module) as asked_for:
            for view in _views(data):
                samples = self.module.test_step(view)
                scores = [_take_scores(sample) for sample in samples]
                num_views += 1
                if num_views == 1:
                    results, totals = samples, scores
                    continue
                for total, score in zip(totals, scores, strict=True):
                    total += score
                del samples, scores, score  # before the next view makes its own
        for result, total in zip(results, totals, strict=True):
            self._set_prediction(result, total.div_(num_views), keep_scores=asked_for)
        return results

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merge predictions that are all at hand; :meth:`test_step` does without.

        Args:
            data_samples_list (list[list[SegDataSample]]): For each image the predictions of all
                its views, with ``seg_logits`` (K, H, W).

        Returns:
            list[SegDataSample]: The first view's, with the merged ``pred_sem_seg`` and the
            averaged ``seg_logits``.
        """
        for samples in data_samples_list:
            mean = sum(sample.seg_logits.data for sample in samples) / len(samples)
            self._set_prediction(samples[0], mean, keep_scores=True)
        return [samples[0] for samples in data_samples_list]

    def _set_prediction(self, sample: SegDataSample, scores: Tensor, keep_scores: bool) -> None:
        if len(scores) > 1:
            classes = scores.argmax(dim=0, keepdim=True)
        else:  # EncoderDecoder has already put a sigmoid over the one class's score
            classes = (scores > self.module.decode_head.threshold).long()
        sample.pred_sem_seg = PixelData(data=classes)
        if keep_scores:
            sample.seg_logits = PixelData(data=scores)


def _take_scores(sample: SegDataSample) -> Tensor:
    """Class scores (K, H, W) of a prediction, which no longer holds them afterwards."""
    scores = sample.seg_logits.data
    del sample.seg_logits
    return scores


def _views(data: dict | tuple | list) -> Iterator[dict | list]:
    """The batch of each view in turn."""
    if isinstance(data, dict):
        for values in zip(*data.values(), strict=True):
            yield dict(zip(data, values, strict=True))
    elif isinstance(data, tuple | list):
        yield from map(list, zip(*data, strict=True))
    else:
        raise TypeError(f'data should be a dict, tuple or list over views, but got {type(data)}')
