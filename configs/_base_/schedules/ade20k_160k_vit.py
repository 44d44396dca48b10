# A plain ViT: each block learns at 0.8 times the rate of the next, the last at the head's.
_base_ = './ade20k_160k.py'
optim_wrapper = dict(paramwise_cfg=dict(backbone_lr_mult=1.0, layer_decay_rate=0.8))
