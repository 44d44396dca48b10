_base_ = ['./methods/mask2former-own-data.py', './backbones/tiny.py']
model = {{_base_.backbone_settings}}
