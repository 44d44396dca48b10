# ConvNeXt V2-B, by timm, pre-trained on ImageNet-22k (FCMAE) and fine-tuned on 22k and 1k at 224.
# The weights are under CC BY-NC 4.0: no commercial use.
checkpoint = 'timm://convnextv2_base.fcmae_ft_in22k_in1k'
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='TimmFeatures',
        model_name='convnextv2_base',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
)
