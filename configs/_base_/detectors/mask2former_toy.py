_base_ = ['./methods/mask2former.py', '../models/backbones/toy.py']
model = dict(
    backbone={{_base_.backbone_settings.backbone}},
    panoptic_head={{_base_.backbone_settings.decode_head}},
    train_cfg={{_base_.backbone_settings.decode_head.train_cfg}},
)
