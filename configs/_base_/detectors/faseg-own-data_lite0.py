_base_ = ['./methods/faseg-own-data.py', '../models/backbones/lite0.py']
model = dict(
    data_preprocessor={{_base_.backbone_settings.data_preprocessor}},
    backbone={{_base_.backbone_settings.backbone}},
    panoptic_head={{_base_.backbone_settings.decode_head}},
    train_cfg={{_base_.backbone_settings.decode_head.train_cfg}},
)
