_base_ = ['./methods/faseg.py', './backbones/dinov3-l.py']
model = {{_base_.backbone_settings}}
