# ViT-B of DINOv2, by timm. The weights are under Apache-2.0.
# Its patches of 14 are resampled to 16 when the weights are loaded, so that maps have 1/16 of the
# input; position embeddings to the grid of 512 x 512 then, and to that of each image later.
# Every third block gives a map, normed, of which the neck makes 1/4, 1/8, 1/16 and 1/32.
checkpoint = 'timm://vit_base_patch14_dinov2.lvd142m'
backbone_settings = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        type='TimmFeatures',
        model_name='vit_base_patch14_dinov2',
        out_indices=(2, 5, 8, 11),
        norm=True,
        img_size=512,
        patch_size=16,
        dynamic_img_size=True,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
)
