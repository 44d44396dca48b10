# The baseline of faseg-own-data_lite0_camvid.py: the same recipe.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/mask2former-own-data_lite0.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/own_data.py',
]
num_classes = 11
positional_encoding = dict(num_feats=64, normalize=True)
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(
        num_classes=num_classes,
        pixel_decoder=dict(positional_encoding=positional_encoding),
        positional_encoding=positional_encoding,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
)
