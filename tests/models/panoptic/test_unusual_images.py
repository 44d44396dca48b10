"""Images without objects, things or stuff, crowds, and more segments than queries train."""

import pytest
import torch
from mmengine.dataset import pseudo_collate

from tests.helpers.coco import STUFF, THINGS, Coco
from tests.helpers.small_detector import build_detector, our_head, stock_head

CLASSES = (*THINGS, 'cow', *STUFF)  # as many things as the small detectors have


def build(kind, panoptic, num_queries=5):
    head = our_head() if kind == 'FASegDetector' else stock_head(stuff=panoptic)
    head.num_queries = num_queries
    torch.manual_seed(0)
    model = build_detector(head, stuff=int(panoptic), kind=kind)
    model.data_preprocessor.pad_seg, model.data_preprocessor.seg_pad_value = True, 255
    model.init_weights()
    return model.train()


def losses(model, root, panoptic, what, batch=2):
    """Of an unusual image and a usual one, and the number of their targets."""
    root.mkdir(exist_ok=True)
    coco = Coco(root, panoptic)
    coco.content['categories'].insert(2, dict(id=8, name='cow', isthing=1))
    coco.change(what)
    names = CLASSES if panoptic else CLASSES[:3]
    dataset = coco.dataset(metainfo=dict(classes=names))
    data = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(batch)]), True)
    torch.manual_seed(1)
    return model(**data, mode='loss'), data['data_samples']


@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('what', ['nothing', 'things', 'stuff', 'crowd'])
@pytest.mark.parametrize('panoptic', [False, True])
@pytest.mark.parametrize('kind', ['FASegDetector', 'Mask2Former'])
def test_every_parameter_learns_from(kind, panoptic, what, batch, tmp_path):
    model = build(kind, panoptic)
    found, _ = losses(model, tmp_path, panoptic, what, batch)
    sum(found.values()).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in grads.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in grads.values())


@pytest.mark.parametrize('panoptic', [False, True])
@pytest.mark.parametrize('kind', ['FASegDetector', 'Mask2Former'])
def test_a_crowd_is_trained_as_what_is_no_object(kind, panoptic, tmp_path):
    """Nothing is ignored where it is: other masks and 'no object' are learnt there."""
    model = build(kind, panoptic)
    crowd, samples = losses(model, tmp_path / 'crowd', panoptic, 'crowd')
    assert samples[0].gt_instances.labels.tolist() == [1]
    none, _ = losses(model, tmp_path / 'none', panoptic, 'no crowd')
    assert {key: float(value) for key, value in crowd.items()} == {
        key: pytest.approx(float(value)) for key, value in none.items()
    }


@pytest.mark.parametrize('kind', ['FASegDetector', 'Mask2Former'])
def test_more_segments_than_queries(kind, tmp_path):
    model = build(kind, True, num_queries=1)
    found, _ = losses(model, tmp_path, True, 'crowd')
    assert all(value.isfinite() for value in found.values())
