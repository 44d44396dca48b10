"""ToyPanopticDataset: ToyScenesDataset's pictures, whose segments MMDetection evaluates."""

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import DATASETS, METRICS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

import mmseg_faseg.datasets.toy_files as toy_files
from mmseg_faseg.datasets import ToyPanopticDataset, ToyScenesDataset
from mmseg_faseg.datasets.toy_painter import BALL, HOUSE, LAMP, MEADOW, POLE, SKY, WATER
from tests.helpers.configs import load

FOLDER = 'edition1_seed0_size64'


def make(root: Path, **kwargs) -> ToyPanopticDataset:
    return ToyPanopticDataset(data_root=str(root), **{'num_images': 3, 'size': 64, **kwargs})


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob('*') if file.is_file()
    }


@pytest.fixture(scope='module')
def scenes():
    recipe = toy_files.ToyScenes('train', 30, 0, 128)
    return [recipe.paint(index) for index in range(recipe.num_images)]


# --- segments


def boxes(scene, label) -> list[tuple[int, int]]:
    """Heights and widths of what surrounds the segments of a class."""
    found = []
    for number in np.unique(scene.segments[scene.labels == label]):
        rows, columns = np.nonzero(scene.segments == number)
        found.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    return found


def test_a_segment_has_one_class_and_the_border_none(scenes):
    for scene in scenes:
        np.testing.assert_array_equal(scene.segments == 0, scene.labels == 255)
        for number in np.unique(scene.segments[scene.segments > 0]):
            assert len(np.unique(scene.labels[scene.segments == number])) == 1


def test_stuff_is_one_segment_and_every_thing_its_own(scenes):
    for scene in scenes:
        for label in (SKY, MEADOW, WATER):
            assert len(boxes(scene, label)) <= 1
        # Two of them with one number would need a larger box.
        assert all(width <= 3 for _, width in boxes(scene, POLE))
        assert all(max(box) <= 11 for label in (LAMP, BALL) for box in boxes(scene, label))
        assert all(width <= 2 * (16 + 2) * 1.3 + 1 for _, width in boxes(scene, HOUSE))
    for label in range(HOUSE, BALL + 1):
        assert max(len(boxes(scene, label)) for scene in scenes) > 1


# --- files


def test_pictures_are_those_of_toy_scenes(tmp_path):
    ToyScenesDataset(data_root=str(tmp_path), num_images=2, size=64)
    before = contents(tmp_path)
    dataset = make(tmp_path, num_images=2)
    assert before.items() <= contents(tmp_path).items()
    semantic = ToyScenesDataset(data_root=str(tmp_path), num_images=2, size=64)
    for one, other in zip(dataset, semantic, strict=True):
        assert Path(one['img_path']) == Path(other['img_path'])


def test_loads_through_stock_transforms(tmp_path):
    pipeline = load('faseg_toy-panoptic').val_dataloader.dataset.pipeline
    dataset = make(tmp_path, pipeline=pipeline)
    names, classes = ToyScenesDataset.METAINFO['classes'], dataset.metainfo['classes']
    assert classes == (*dataset.metainfo['thing_classes'], *dataset.metainfo['stuff_classes'])
    for index in range(3):
        scene = dataset.scenes.paint(index)
        sample = dataset[index]['data_samples']
        segments = sample.gt_sem_seg.sem_seg[0].numpy()
        for label, name in enumerate(names):
            np.testing.assert_array_equal(segments == classes.index(name), scene.labels == label)
        instances = sample.gt_instances
        assert len(instances) == len(np.unique(scene.segments[scene.labels >= HOUSE])) - 1  # none
        for label, mask, box in zip(
            instances.labels, instances.masks.masks, instances.bboxes.tensor, strict=True
        ):
            assert {classes[label]} == {names[one] for one in scene.labels[mask.astype(bool)]}
            rows, columns = np.nonzero(mask)
            corners = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert box.tolist() == list(corners)


def test_a_scene_depends_on_its_index_alone(tmp_path):
    few, many = tmp_path / 'few', tmp_path / 'many'
    make(few, num_images=2)
    make(many, num_images=4)
    pictures = {name: data for name, data in contents(few).items() if name.endswith('.png')}
    assert len(pictures) == 4
    assert pictures.items() <= contents(many).items()
    make(many, num_images=2)  # beside the annotations of four
    assert contents(few).items() <= contents(many).items()
    make(few, num_images=4)
    assert contents(few) == contents(many)


@pytest.mark.parametrize('written', [0, 3, 6, 7], ids=lambda count: f'{count} files')
def test_interrupted_generation_is_completed(written, tmp_path, monkeypatch):
    complete, broken = tmp_path / 'complete', tmp_path / 'broken'
    make(complete)
    assert len(contents(complete)) == 8  # two of each scene, two of annotations
    replace, done = os.replace, []

    def interrupt(source, target):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(toy_files.os, 'replace', interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(broken)
    assert len([name for name in contents(broken) if not name.endswith('.tmp')]) == written
    assert len(make(broken)) == 3
    assert contents(complete).items() <= contents(broken).items()


def test_what_is_there_is_not_written_again(tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(toy_files, 'write_whole', None)
    monkeypatch.setattr('mmseg_faseg.datasets.toy_panoptic.write_whole', None)
    assert len(make(tmp_path)) == 3


def test_several_processes_at_once(tmp_path):
    make(tmp_path / 'alone')
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=make, args=[tmp_path / 'together']) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path / 'together') == contents(tmp_path / 'alone')


@pytest.mark.parametrize(
    ('argument', 'value'), [('split', 'test'), ('num_images', 0), ('seed', -1), ('size', 32)]
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f'{argument} must be .*{value}'):
        ToyPanopticDataset(lazy_init=True, **{argument: value})


# --- evaluation


def test_the_config_knows_the_files():
    cfg = load('faseg_toy-panoptic')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build({**cfg.val_dataloader.dataset, 'lazy_init': True})
    panoptic, instances, _ = cfg.val_evaluator
    assert dataset.ann_file == panoptic.ann_file
    assert dataset.data_prefix['seg'] == panoptic.seg_prefix
    assert instances.ann_file == panoptic.ann_file.replace('panoptic_val', 'instances_val')


@pytest.fixture
def evaluated(tmp_path):
    """Metrics of predictions made from the truth: segment ids (H, W), and instances."""
    cfg = load('faseg_toy-panoptic')
    dataset = make(tmp_path, split='val', pipeline=cfg.val_dataloader.dataset.pipeline)
    panoptic, instances, semantic = cfg.val_evaluator
    panoptic.update(
        ann_file=f'{tmp_path}/{FOLDER}/panoptic_val_3.json',
        seg_prefix=f'{tmp_path}/{FOLDER}/panoptic/val',
    )
    instances.ann_file = f'{tmp_path}/{FOLDER}/instances_val_3.json'

    def evaluate(change):
        with DefaultScope.overwrite_default_scope('mmdet'):
            metrics = [METRICS.build(metric) for metric in (panoptic, instances, semantic)]
        found = {}
        for metric in metrics:
            metric.dataset_meta = dataset.metainfo
            for item in dataset:
                metric.process({}, [predicted(item['data_samples'], change).to_dict()])
            found |= metric.evaluate(len(dataset))
        return found

    return evaluate


def predicted(sample, change):
    truth, ids = sample.gt_instances, sample.gt_sem_seg.sem_seg.clone().int()
    ids[ids == 255] = len(ToyPanopticDataset.METAINFO['classes'])  # no segment
    masks = torch.from_numpy(truth.masks.masks).bool()
    for number, mask in enumerate(masks, 1):
        ids[0][mask] += number * INSTANCE_OFFSET
    labels = change(ids, truth.labels.clone())
    sample.pred_panoptic_seg = PixelData(sem_seg=ids)
    sample.pred_instances = InstanceData(
        labels=labels, masks=masks, scores=torch.ones(len(labels)), bboxes=truth.bboxes.tensor
    )
    return sample


def test_the_truth_is_perfect(evaluated):
    found = evaluated(lambda ids, labels: labels)
    assert found['coco_panoptic/PQ'] == found['coco_panoptic/PQ_th'] == 100
    assert found['coco_panoptic/PQ_st'] == 100
    assert found['coco/segm_mAP'] == 1
    assert found['mIoU'] == found['boundary/mIoU'] == 100


def test_things_of_another_class_count_for_nothing(evaluated):
    def change(ids, labels):
        things = ids >= INSTANCE_OFFSET
        label = ids % INSTANCE_OFFSET
        ids[things] += ((label + 1) % 5 - label)[things]
        return (labels + 1) % 5

    found = evaluated(change)
    assert found['coco_panoptic/PQ_th'] == 0
    assert found['coco_panoptic/PQ_st'] == 100
    assert found['coco/segm_mAP'] == 0


def test_annotations_are_in_cocos_form(tmp_path):
    make(tmp_path)
    panoptic, instances = (
        json.loads((tmp_path / FOLDER / f'{kind}_train_3.json').read_text())
        for kind in ('panoptic', 'instances')
    )
    things = {one['id'] for one in panoptic['categories'] if one['isthing']}
    assert [one['name'] for one in instances['categories']] == [
        one['name'] for one in panoptic['categories'] if one['id'] in things
    ]
    of_things = [
        (image['image_id'], segment['category_id'], segment['bbox'], segment['area'])
        for image in panoptic['annotations']
        for segment in image['segments_info']
        if segment['category_id'] in things
    ]
    found = instances['annotations']
    assert of_things == [
        tuple(one[key] for key in ('image_id', 'category_id', 'bbox', 'area')) for one in found
    ]
    assert len({one['id'] for one in found}) == len(found) > 3
