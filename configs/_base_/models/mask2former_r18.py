_base_ = ['./methods/mask2former.py', './backbones/r18.py']
model = {{_base_.backbone_settings}}
