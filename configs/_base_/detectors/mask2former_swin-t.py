_base_ = ['./methods/mask2former.py', '../models/backbones/swin-t.py']
model = dict(
    backbone={{_base_.backbone_settings.backbone}},
    panoptic_head={{_base_.backbone_settings.decode_head}},
)
