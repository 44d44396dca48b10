_base_ = ['./methods/faseg.py', './backbones/swin-b.py']
model = {{_base_.backbone_settings}}
