_base_ = ['./methods/panoptic-segformer.py', '../models/backbones/toy.py']
model = dict(
    backbone={{_base_.backbone_settings.backbone}},
    neck=dict(
        in_channels={{_base_.backbone_settings.decode_head.in_channels}},
        out_channels={{_base_.width}},
    ),
    encoder=dict(layer_cfg=dict(self_attn_cfg={{_base_.attention}}, ffn_cfg={{_base_.ffn}})),
    decoder=dict(
        layer_cfg=dict(
            self_attn_cfg={{_base_.attention}},
            cross_attn_cfg={{_base_.attention}},
            ffn_cfg={{_base_.ffn}},
        )
    ),
    bbox_head=dict(embed_dims={{_base_.width}}),
)
