# ViT-L of DINOv3, by timm, under the DINOv3 License too. Every sixth block gives a map.
_base_ = './dinov3-b.py'
checkpoint = 'timm://vit_large_patch16_dinov3.lvd1689m'
backbone_settings = dict(
    backbone=dict(
        model_name='vit_large_patch16_dinov3',
        out_indices=(5, 11, 17, 23),
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint=checkpoint),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024]),
)
