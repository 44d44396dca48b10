# ViT-B of DINOv3, by timm. The weights are under the DINOv3 License, which has terms of its own:
# https://ai.meta.com/resources/models-and-libraries/dinov3-license/
# Every third block gives a map, normed, of which the neck makes 1/4, 1/8, 1/16 and 1/32.
checkpoint = 'timm://vit_base_patch16_dinov3.lvd1689m'
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='TimmFeatures',
        model_name='vit_base_patch16_dinov3',
        out_indices=(2, 5, 8, 11),
        norm=True,
        dynamic_img_size=True,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
)
