_base_ = ['./methods/faseg.py', './backbones/dinov3-b.py']
model = {{_base_.backbone_settings}}
