# Swin V2-B with windows of 16, by timm, pre-trained on ImageNet-22k at 192 and fine-tuned on 1k at
# 256. The weights are under MIT.
# img_size is that of the crops, whose maps the windows divide; with strict_img_size=False other
# sizes are padded to whole windows.
checkpoint = 'timm://swinv2_base_window12to16_192to256.ms_in22k_ft_in1k'
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='TimmFeatures',
        model_name='swinv2_base_window12to16_192to256',
        out_indices=(0, 1, 2, 3),
        img_size=512,
        strict_img_size=False,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
)
