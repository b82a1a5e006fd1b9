"""A ViT of 4 layers, 192 wide, with patches of 7 x 7 pixels, and a small MAE decoder."""

model = dict(
    backbone=dict(
        arch=dict(embed_dims=192, num_layers=4, num_heads=6, feedforward_channels=768),
        img_size=28,
        patch_size=7,
        patch_cfg=dict(in_channels=1),
        mask_ratio=0.75,
    ),
    neck=dict(
        patch_size=7,
        in_chans=1,
        embed_dim=192,
        decoder_embed_dim=128,
        decoder_depth=1,
        decoder_num_heads=4,
        mlp_ratio=4.0,
    ),
    head=dict(norm_pix=True, patch_size=7, in_channels=1, loss=dict(type='PixelReconstructionLoss', criterion='L2')),
    data_preprocessor=dict(mean=[73.0], std=[90.0]),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
    ],
)
