_base_ = ['./methods/mask2former.py', './backbones/swin-t.py']
model = {{_base_.backbone_settings}}
