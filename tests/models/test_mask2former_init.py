"""FASeg starts from MMSegmentation's and MMDetection's Mask2Former checkpoints."""

import re

import pytest
import torch

from mmseg_faseg.models.mask2former_init import load_mask2former
from tests.helpers.small_detector import build_detector, our_head, stock_head
from tests.helpers.small_segmentor import build_segmentor

LAYER = 'decode_head.transformer_decoder.layers.{}.self_attn.attn.in_proj_weight'


@pytest.fixture(scope='module')
def mask2former(tmp_path_factory):
    model = build_segmentor(base='mask2former', kind='EncoderDecoder')
    path = tmp_path_factory.mktemp('mask2former') / 'mask2former.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return str(path), model.state_dict()


def test_layers_are_mapped_round_by_round(mask2former):
    path, source = mask2former
    model = build_segmentor()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_mask2former(model, path)
    after = model.state_dict()
    for layer in range(9):
        ours = 4 * (layer // 3) + layer % 3
        assert torch.equal(after[LAYER.format(ours)], source[LAYER.format(layer)])
    for layer in (3, 7, 11, 12):
        assert LAYER.format(layer) in report.new
        assert torch.equal(after[LAYER.format(layer)], before[LAYER.format(layer)])
    embed = 'decode_head.level_embed.weight'
    assert torch.equal(after[embed][:3], source[embed])
    assert torch.equal(after[embed][3], before[embed][3])
    assert set(report.taken) | set(report.new) == set(after)
    assert torch.equal(after['backbone.conv1.weight'], source['backbone.conv1.weight'])


def test_one_config_option_does_it(mask2former):
    path, source = mask2former
    model = build_segmentor()
    model.mask2former = path
    model._is_init = False
    model.init_weights()
    assert torch.equal(model.state_dict()[LAYER.format(4)], source[LAYER.format(3)])


def test_another_number_of_classes_leaves_the_classifier(mask2former):
    path, _ = mask2former
    report = load_mask2former(build_segmentor(num_classes=3), path)
    assert 'decode_head.cls_embed.weight' in report.left
    assert 'decode_head.cls_embed.weight' in report.new


def test_the_log_lists_what_was_taken_new_and_left(mask2former, monkeypatch):
    path, source = mask2former
    extended = dict(source, **{'auxiliary_head.conv.weight': torch.zeros(1)})
    torch.save(extended, path + '.more')
    lines = []
    monkeypatch.setattr(
        'mmseg_faseg.models.mask2former_init.print_log', lambda text, **_: lines.append(text)
    )
    load_mask2former(build_segmentor(), path + '.more')
    assert lines[1].startswith('taken: backbone.conv1.weight, ')
    assert 'decode_head.positional_query.mlp.0.weight' in lines[2]
    assert lines[3] == 'left: auxiliary_head.conv.weight'


def test_other_files_are_refused(mask2former, tmp_path):
    path, source = mask2former
    torch.save(dict(state_dict={'conv.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other.pth is no Mask2Former checkpoint'):
        load_mask2former(build_segmentor(), str(tmp_path / 'other.pth'))
    with pytest.raises(
        ValueError, match=r'query_embed.weight has shape \(7, 32\), expected \(9, 32\)'
    ):
        load_mask2former(build_segmentor(num_queries=9), path)
    deeper = dict(source, **{'backbone.layer4.2.conv1.weight': torch.zeros(1)})
    torch.save(deeper, tmp_path / 'deeper.pth')
    with pytest.raises(
        ValueError, match='another backbone: only the checkpoint has backbone.layer4'
    ):
        load_mask2former(build_segmentor(), str(tmp_path / 'deeper.pth'))
    torch.save(build_segmentor().state_dict(), tmp_path / 'faseg.pth')
    with pytest.raises(ValueError, match='is a FASeg checkpoint, .* use load_from'):
        load_mask2former(build_segmentor(), str(tmp_path / 'faseg.pth'))
    other = {('neck.' + k if k.startswith('backbone') else k): v for k, v in source.items()}
    torch.save(other, tmp_path / 'backbone.pth')
    with pytest.raises(ValueError, match='is for another backbone'):
        load_mask2former(build_segmentor(), str(tmp_path / 'backbone.pth'))


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """MMDetection's Mask2Former and a file of its weights."""
    model = build_detector(stock_head())
    path = tmp_path_factory.mktemp('detector') / 'mask2former_det.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return str(path), model.state_dict()


def test_detectors_start_from_detectors(detector):
    path, source = detector
    model = build_detector(our_head(), kind='FASegDetector', mask2former=path)
    model.init_weights()
    layer = LAYER.replace('decode_head', 'panoptic_head')
    for number in range(9):
        ours = 4 * (number // 3) + number % 3
        assert torch.equal(model.state_dict()[layer.format(ours)], source[layer.format(number)])
    key = 'panoptic_head.cls_embed.weight'
    assert torch.equal(model.state_dict()[key], source[key])
    report = load_mask2former(model, path)
    assert report.left == []
    assert all(re.search(r'position|\.layers\.|level_embed', name) for name in report.new)


def test_other_heads_keep_their_names(mask2former):
    """Their names end as that of the head begins."""
    path, _ = mask2former
    model = build_segmentor()
    model.auxiliary_head = torch.nn.Linear(2, 2)
    report = load_mask2former(model, path)
    assert {'auxiliary_head.weight', 'auxiliary_head.bias'} < set(report.new)
    assert set(report.new) | set(report.taken) == set(model.state_dict())


def test_segmentors_and_detectors_start_from_each_other(detector, mask2former):
    """THINGS + STUFF are as many as the segmentor's classes."""
    for (path, source), model, own in (
        (detector, build_segmentor(), 'decode_head'),
        (mask2former, build_detector(our_head(), kind='FASegDetector'), 'panoptic_head'),
    ):
        report = load_mask2former(model, path)
        assert report.left == []
        key = 'transformer_decoder.layers.1.self_attn.attn.in_proj_weight'
        (theirs,) = (name for name in source if name.endswith(key))
        assert torch.equal(model.state_dict()[f'{own}.{key}'], source[theirs])
        assert f'{own}.cls_embed.weight' in report.taken
