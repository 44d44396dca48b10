# Panoptic SegFormer: things have boxes, by Deformable DETR's parts, then masks; stuff has masks. A
# backbone's file adds the backbone and the neck's `in_channels`, a config the numbers of classes.
embed_dims = 256
encoder_layer = dict(
    self_attn_cfg=dict(embed_dims=embed_dims, batch_first=True),
    ffn_cfg=dict(embed_dims=embed_dims, feedforward_channels=1024, ffn_drop=0.1),
)
decoder_layer = dict(
    self_attn_cfg=dict(embed_dims=embed_dims, num_heads=8, dropout=0.1, batch_first=True),
    cross_attn_cfg=dict(embed_dims=embed_dims, batch_first=True),
    ffn_cfg=dict(embed_dims=embed_dims, feedforward_channels=1024, ffn_drop=0.1),
)
model = dict(
    type='PanopticSegFormer',
    num_queries=300,
    num_feature_levels=4,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=True,
        seg_pad_value=255,
    ),
    neck=dict(
        type='ChannelMapper',
        kernel_size=1,
        out_channels=embed_dims,
        act_cfg=None,
        norm_cfg=dict(type='GN', num_groups=32),
        num_outs=4,
    ),
    encoder=dict(num_layers=6, layer_cfg=encoder_layer),
    decoder=dict(
        num_layers=6, return_intermediate=True, layer_cfg=decoder_layer, post_norm_cfg=None
    ),
    positional_encoding=dict(num_feats=embed_dims // 2, normalize=True, offset=-0.5),
    bbox_head=dict(
        type='PanopticSegFormerHead',
        embed_dims=embed_dims,
        sync_cls_avg_factor=True,
        things_decoder=dict(num_layers=4, num_heads=8),
        stuff_decoder=dict(num_layers=6, num_heads=8),
        loss_cls=dict(
            type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0
        ),
        loss_bbox=dict(type='mmdet.L1Loss', loss_weight=5.0),
        loss_iou=dict(type='mmdet.GIoULoss', loss_weight=2.0),
        loss_mask=dict(
            type='mmdet.DiceLoss', activate=False, naive_dice=False, eps=1e-6, loss_weight=2.0
        ),
        loss_stuff=dict(
            type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=4.0
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[
                dict(type='mmdet.FocalLossCost', weight=2.0),
                dict(type='mmdet.BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.0),
            ],
        ),
        queries_per_thing=3,
        mask_assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[
                dict(type='mmdet.FocalLossCost', weight=4.0),
                dict(type='mmdet.BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.0),
                dict(type='mmdet.DiceCost', naive_dice=False, eps=2e-6, weight=2.0),
            ],
        ),
    ),
    test_cfg=dict(
        max_per_img=100,
        panoptic_on=True,
        instance_on=True,
        merging='mask-wise',
        quality_thr=0.25,
        overlap_thr=dict(things=0.4, stuff=0.2),
    ),
)
