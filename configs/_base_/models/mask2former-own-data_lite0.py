_base_ = ['./methods/mask2former-own-data.py', './backbones/lite0.py']
model = {{_base_.backbone_settings}}
