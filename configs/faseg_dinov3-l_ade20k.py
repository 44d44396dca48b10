# FASeg, DINOv3 ViT-L of timm, ADE20K. Not in the paper, not trained yet.
# Its weights are under the DINOv3 License.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_dinov3-l.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/ade20k_160k_vit.py',
]
model = dict(decode_head=dict(num_classes=150))
