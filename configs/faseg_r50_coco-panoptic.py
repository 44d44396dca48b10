# FASeg, ResNet-50, COCO panoptic. Not trained yet.
_base_ = [
    './_base_/default_runtime_detection.py',
    './_base_/detectors/faseg_r50.py',
    './_base_/datasets/coco-panoptic.py',
    './_base_/schedules/coco_50e.py',
]
model = dict(
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=(1024, 1024),
                img_pad_value=0,
                pad_mask=True,
                mask_pad_value=0,
                pad_seg=True,
                seg_pad_value=255,
            )
        ]
    ),
    panoptic_head=dict(num_things_classes=80, num_stuff_classes=53),
)
