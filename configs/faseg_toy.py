# FASeg small enough to learn toy scenes in minutes on two CPU cores: `make demo`.
_base_ = [
    './_base_/default_runtime.py',
    './_base_/models/faseg_toy.py',
    './_base_/datasets/toy_scenes.py',
    './_base_/schedules/toy.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    decode_head=dict(
        num_classes=8,
        transformer_decoder=dict(num_layers=9),  # two rounds over four levels, and level 0 again
    ),
)
