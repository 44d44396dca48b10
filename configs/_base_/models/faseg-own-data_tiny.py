_base_ = ['./methods/faseg-own-data.py', './backbones/tiny.py']
model = {{_base_.backbone_settings}}
