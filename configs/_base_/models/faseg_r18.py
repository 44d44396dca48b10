_base_ = ['./methods/faseg.py', './backbones/r18.py']
model = {{_base_.backbone_settings}}
