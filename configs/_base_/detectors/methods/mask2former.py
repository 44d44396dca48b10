# Mask2Former for instances and panoptic segments: MMDetection's own, with the head's settings in
# models/methods/mask2former.py. A config adds the numbers of classes.
_base_ = '../../models/methods/mask2former.py'
model = dict(
    _delete_=True,
    type='Mask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=True,
        seg_pad_value=255,
    ),
    panoptic_head={{_base_.model.decode_head}},
    panoptic_fusion_head=dict(type='MaskFormerFusionHead'),
    train_cfg={{_base_.model.decode_head.train_cfg}},
    test_cfg=dict(
        panoptic_on=True,
        semantic_on=False,
        instance_on=True,
        max_per_image=100,
        object_mask_thr=0.8,
        iou_thr=0.8,
        filter_low_score=True,
    ),
)
