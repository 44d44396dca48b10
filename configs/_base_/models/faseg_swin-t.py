_base_ = ['./methods/faseg.py', './backbones/swin-t.py']
model = {{_base_.backbone_settings}}
