# Panoptic SegFormer, Swin-L, COCO panoptic, 24 epochs. Reported PQ: 55.8.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/panoptic-segformer_swin-l.py',
    './_base_/datasets/coco-panoptic_detr.py',
    './_base_/schedules/coco_24e.py',
]
model = dict(bbox_head=dict(num_things_classes=80, num_stuff_classes=53))
