_base_ = ['./methods/faseg.py', './backbones/convnext-t.py']
model = {{_base_.backbone_settings}}
