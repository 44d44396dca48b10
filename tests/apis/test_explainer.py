"""What a predictor's network looks at is that of the very network that predicts."""

import numpy as np
import pytest

from mmseg_faseg import Predictor
from mmseg_faseg.apis.explainer import Explainer
from tests.helpers.random_checkpoint import picture, save_checkpoint, small_config


@pytest.mark.parametrize('base', ['faseg_toy', 'mask2former_toy'])
def test_it_sees_what_was_predicted(base, tmp_path):
    predict = Predictor(save_checkpoint(tmp_path / 'model.pth', small_config(base)), device='cpu')
    image = picture(50, 70)
    view = Explainer(predict)(image)
    assert np.array_equal(view.image, image)
    labels = predict(image, channels='rgb').label_map
    assert len(np.unique(labels)) > 1
    assert np.array_equal(view.class_map.labels, labels)


@pytest.mark.parametrize('base', ['faseg_toy', 'mask2former_toy'])
def test_weights_are_there_once(base, tmp_path):
    predict = Predictor(save_checkpoint(tmp_path / 'model.pth', small_config(base)), device='cpu')
    own, shared = (
        {name: weight.data_ptr() for name, weight in network.state_dict().items()}
        for network in (predict.model, Explainer(predict)._network)
    )
    assert own == shared
