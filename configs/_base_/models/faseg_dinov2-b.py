_base_ = ['./methods/faseg.py', './backbones/dinov2-b.py']
model = {{_base_.backbone_settings}}
