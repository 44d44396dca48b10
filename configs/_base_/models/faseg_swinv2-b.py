_base_ = ['./methods/faseg.py', './backbones/swinv2-b.py']
model = {{_base_.backbone_settings}}
