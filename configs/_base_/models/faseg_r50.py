_base_ = ['./methods/faseg.py', './backbones/r50.py']
model = {{_base_.backbone_settings}}
