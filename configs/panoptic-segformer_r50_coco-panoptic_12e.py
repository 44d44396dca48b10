# Panoptic SegFormer, ResNet-50, COCO panoptic, 12 epochs. Reported PQ: 48.0.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/panoptic-segformer_r50.py',
    './_base_/datasets/coco-panoptic_detr.py',
    './_base_/schedules/coco_12e.py',
]
model = dict(bbox_head=dict(num_things_classes=80, num_stuff_classes=53))
