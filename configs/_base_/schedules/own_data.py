# Few images, a pre-trained backbone, a short schedule: the backbone learns as fast as the rest
# (docs/own_data.md).
_base_ = './finetune_1500.py'
optim_wrapper = dict(paramwise_cfg=dict(backbone_lr_mult=1.0))
