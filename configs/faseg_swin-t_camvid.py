# Fine-tuning to other classes: which weights to start from, and how many classes there are.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_swin-t.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/finetune_5k.py',
]
load_from = 'checkpoints/faseg_swin-t_ade20k.pth'
model = dict(backbone=dict(init_cfg=None), decode_head=dict(num_classes=11))
