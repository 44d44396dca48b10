"""MMSegmentation's visualizer draws into images of any layout."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def painted(image: np.ndarray) -> np.ndarray:
    visualizer = SegLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('a', 'b'), palette=[[255, 0, 0], [0, 255, 0]])
    labels = torch.arange(24 * 32).reshape(1, 24, 32) % 2
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    visualizer.add_datasample('image', image, sample, draw_pred=False)
    return visualizer.get_image()


def test_layout_makes_no_difference():
    image = IMAGE.transpose(2, 0, 1).copy().transpose(1, 2, 0)  # as pipelines give it
    assert np.array_equal(painted(image), painted(IMAGE))
