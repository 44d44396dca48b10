_base_ = ['./methods/mask2former.py', './backbones/toy.py']
model = {{_base_.backbone_settings}}
