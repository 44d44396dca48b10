# The baseline of faseg_toy.py: the same backbone, data, seed and schedule.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/mask2former_toy.py',
    './_base_/datasets/toy_scenes.py',
    './_base_/schedules/toy.py',
]
num_classes = 8
positional_encoding = dict(num_feats=64, normalize=True)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    decode_head=dict(
        num_classes=num_classes,
        pixel_decoder=dict(positional_encoding=positional_encoding),
        transformer_decoder=dict(num_layers=6),
        positional_encoding=positional_encoding,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
)
