_base_ = ['./methods/faseg.py', './backbones/toy.py']
model = {{_base_.backbone_settings}}
