_base_ = ['./methods/faseg.py', './backbones/swin-l.py']
model = {{_base_.backbone_settings}}
