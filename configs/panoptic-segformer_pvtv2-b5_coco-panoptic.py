# Panoptic SegFormer, PVTv2-B5, COCO panoptic, 24 epochs. Reported PQ: 55.6.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/panoptic-segformer_pvtv2-b5.py',
    './_base_/datasets/coco-panoptic_detr.py',
    './_base_/schedules/coco_24e.py',
]
model = dict(bbox_head=dict(num_things_classes=80, num_stuff_classes=53))
