_base_ = ['./methods/faseg.py', './backbones/convnextv2-b.py']
model = {{_base_.backbone_settings}}
