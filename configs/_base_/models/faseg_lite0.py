_base_ = ['./methods/faseg.py', './backbones/lite0.py']
model = {{_base_.backbone_settings}}
