_base_ = ['./methods/faseg-own-data.py', './backbones/lite0.py']
model = {{_base_.backbone_settings}}
