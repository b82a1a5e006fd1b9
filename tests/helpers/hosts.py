"""Tiny models of every MIM method of mmpretrain, with random target networks, and crops of photographs for them.

Images have 64 pixels and 4x4 patches, unless the method needs other sizes.
"""

import random
from copy import deepcopy

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models.utils.clip_generator_helper import CLIP
from mmpretrain.registry import MODELS
from skimage import data

from . import cim, tiny

ARCH = tiny.ARCH
PLAIN = dict(type='SelfSupDataPreprocessor', **tiny.NORMALIZE)
DALLE = dict(second_mean=[-31.875] * 3, second_std=[318.75] * 3)
VQKD = dict(second_mean=[127.5] * 3, second_std=[127.5] * 3)
INIT = [dict(type='Xavier', layer='Linear', distribution='uniform'), dict(type='Constant', layer='LayerNorm', val=1.0)]
L2 = dict(type='PixelReconstructionLoss', criterion='L2')
COSINE = dict(type='CosineSimilarityLoss', shift_factor=2.0, scale_factor=2.0)
DECODER = dict(
    num_patches=16, patch_size=16, embed_dim=32, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2, mlp_ratio=2
)
TOKENIZER = dict(type='DALL-E', n_hid=4, n_blk_per_group=1, vocab_size=32)


def write_clip(path, features=16, size=64) -> str:
    """Write the weights of a tiny CLIP for images of a size, in the form that mmpretrain loads."""
    torch.manual_seed(0)
    clip = CLIP(features, size, 1, 64, 16, context_length=4, vocab_size=8, transformer_width=64, transformer_heads=1,
                transformer_layers=1)  # fmt: skip
    torch.save(clip.state_dict(), path)
    return str(path)


def two_views(norm):
    return dict(type='TwoNormDataPreprocessor', **tiny.NORMALIZE, **norm)


def beit(**changes):
    config = dict(
        type='BEiT',
        data_preprocessor=two_views(DALLE),
        backbone=dict(
            type='BEiTPretrainViT', arch=ARCH, img_size=64, patch_size=16, final_norm=True, out_type='raw',
            layer_scale_init_value=0.1,
        ),
        neck=None,
        head=dict(type='BEiTV1Head', embed_dims=32, num_embed=32, loss=dict(type='CrossEntropyLoss')),
        target_generator=TOKENIZER,
    )  # fmt: skip
    return tiny.merged(config, changes)


def beit_v2(**changes):
    encoder = dict(
        arch=ARCH, img_size=64, patch_size=16, out_type='featmap', use_rel_pos_bias=False, layer_scale_init_value=0.0,
        final_norm=True, use_abs_pos_emb=True, with_cls_token=True, norm_cfg=dict(type='LN', eps=1e-6),
    )  # fmt: skip
    config = beit(
        data_preprocessor=VQKD,
        backbone=dict(final_norm=False, out_indices=[0, -1]),
        head=dict(type='BEiTV2Head'),
    )
    config['neck'] = dict(
        type='BEiTV2Neck', num_layers=1, early_layers=1, backbone_arch=dict(ARCH, depth=2), layer_scale_init_value=0.1
    )
    config['target_generator'] = dict(
        type='VQKD', encoder_config=encoder, num_embed=32, embed_dims=8, quantize_kmeans_init=False
    )
    return tiny.merged(config, changes)


def cae(**changes):
    config = dict(
        type='CAE',
        data_preprocessor=two_views(DALLE),
        backbone=dict(
            type='CAEPretrainViT', arch=ARCH, img_size=64, patch_size=16, layer_scale_init_value=0.1, bias='qv_bias'
        ),
        neck=dict(
            type='CAENeck', num_classes=32, embed_dims=32, num_heads=2, regressor_depth=1, decoder_depth=1, mlp_ratio=2,
            layer_scale_init_value=0.1, mask_tokens_num=8,
        ),
        head=dict(type='CAEHead', loss=dict(type='CAELoss', lambd=2)),
        target_generator=TOKENIZER,
        base_momentum=0.9,
    )  # fmt: skip
    return tiny.merged(config, changes)


def maskfeat(**changes):
    # mmpretrain's HOG reshapes to 14x14 patches.
    config = dict(
        type='MaskFeat',
        data_preprocessor=PLAIN,
        backbone=dict(type='MaskFeatViT', arch=ARCH, img_size=56, patch_size=4),
        neck=dict(type='LinearNeck', in_channels=32, out_channels=108, norm_cfg=None),
        head=dict(type='MIMHead', loss=L2),
        target_generator=dict(type='Float32HOGGenerator', nbins=9, pool=2, gaussian_window=8),
    )
    return tiny.merged(config, changes)


def milan(clip, **changes):
    config = dict(
        type='MILAN',
        data_preprocessor=PLAIN,
        backbone=dict(type='MILANViT', arch=ARCH, img_size=64, patch_size=16, mask_ratio=0.75, init_cfg=INIT),
        neck=dict(type='MILANPretrainDecoder', **DECODER, predict_feature_dim=16, init_cfg=INIT),
        head=dict(type='MIMHead', loss=COSINE),
        target_generator=dict(type='CLIPGenerator', tokenizer_path=clip),
    )
    return tiny.merged(config, changes)


def eva(clip, **changes):
    config = milan(clip, type='EVA', backbone=dict(type='MAEViT'), neck=dict(type='MAEPretrainDecoder'))
    return tiny.merged(config, changes)


def mixmim(**changes):
    config = dict(
        type='MixMIM',
        data_preprocessor=PLAIN,
        backbone=dict(
            type='MixMIMPretrainTransformer', arch=dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4]),
            img_size=128, window_size=[8, 8, 8, 4], drop_rate=0.0, drop_path_rate=0.1, range_mask_ratio=0.2,
        ),
        neck=dict(
            type='MixMIMPretrainDecoder', num_patches=16, encoder_stride=32, embed_dim=128, decoder_embed_dim=32,
            decoder_depth=1, decoder_num_heads=2,
        ),
        head=dict(type='MixMIMPretrainHead', norm_pix=True, loss=L2),
    )  # fmt: skip
    return tiny.merged(config, changes)


def mae(**changes):
    config = tiny.mae(backbone=dict(img_size=64, patch_size=16), neck=DECODER, head=dict(patch_size=16))
    return tiny.merged(config, changes)


def mff(**changes):
    return mae(**tiny.merged(dict(type='MFF', backbone=dict(type='MFFViT', out_indices=[0, 1])), changes))


# HiViT counts its outputs wrongly if the last stage has fewer layers than the stages before.
HIVIT = dict(arch=dict(embed_dims=32, depths=[1, 1, 7], num_heads=2), img_size=64, patch_size=16, out_indices=[6])


def mae_hivit(**changes):
    config = mae()
    config['backbone'] = dict(type='MAEHiViT', **deepcopy(HIVIT), mask_ratio=0.75)
    return tiny.merged(config, changes)


def itpn_pixel(**changes):
    config = dict(
        type='iTPN',
        data_preprocessor=PLAIN,
        backbone=dict(type='iTPNHiViT', **HIVIT, mask_ratio=0.75),
        neck=dict(type='iTPNPretrainDecoder', **DECODER, fpn_dim=16, fpn_depth=1, num_outs=3),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=16, loss=L2),
    )
    return tiny.merged(config, changes)


def itpn_clip(clip, **changes):
    config = dict(
        type='iTPN',
        data_preprocessor=two_views(VQKD),
        backbone=dict(
            type='iTPNHiViT', **HIVIT, rpe=True, layer_scale_init_value=0.1, reconstruction_type='clip'
        ),
        neck=dict(
            type='iTPNPretrainDecoder', patch_size=16, embed_dim=32, mlp_ratio=2, reconstruction_type='clip',
            fpn_dim=32, fpn_depth=1, num_outs=3, num_patches=16, decoder_embed_dim=32,
        ),
        head=dict(type='iTPNClipHead', embed_dims=32, num_embed=16, loss=dict(type='CosineSimilarityLoss')),
        target_generator=dict(type='CLIPGenerator', tokenizer_path=clip),
    )  # fmt: skip
    return tiny.merged(config, changes)


def spark(**changes):
    # SyncBatchNorm needs a GPU.
    norm = dict(type='SparseBatchNorm2d')
    config = dict(
        type='SparK',
        data_preprocessor=PLAIN,
        input_size=128,
        downsample_raito=32,
        mask_ratio=0.6,
        enc_dec_norm_cfg=norm,
        enc_dec_norm_dim=64,
        backbone=dict(
            type='SparseResNet', depth=18, stem_channels=8, base_channels=8, out_indices=(0, 1, 2, 3), norm_cfg=norm,
            drop_path_rate=0.05,
        ),
        neck=dict(
            type='SparKLightDecoder', feature_dim=64, upsample_ratio=32, mid_channels=0, last_act=False,
            norm_cfg=dict(type='BN'),
        ),
        head=dict(type='SparKPretrainHead', loss=L2),
    )  # fmt: skip
    return tiny.merged(config, changes)


def spark_convnext(**changes):
    config = spark(enc_dec_norm_cfg=dict(type='SparseLN2d'))
    config['backbone'] = dict(
        type='SparseConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64]), out_indices=(0, 1, 2, 3),
        drop_path_rate=0.05, gap_before_output=False,
    )  # fmt: skip
    return tiny.merged(config, changes)


# Name to (config of the stock method, name of the method on AdversarialMIM).
HOSTS = {
    'MAE': (mae, 'AEMIM'),
    'MAE, HiViT': (mae_hivit, 'AEMIM'),
    'SimMIM': (tiny.simmim, 'AESimMIM'),
    'BEiT': (beit, 'AEBEiT'),
    'BEiT v2': (beit_v2, 'AEBEiT'),
    'CAE': (cae, 'AECAE'),
    'MaskFeat': (maskfeat, 'AEMaskFeat'),
    'MILAN': (milan, 'AEMILAN'),
    'EVA': (eva, 'AEEVA'),
    'MixMIM': (mixmim, 'AEMixMIM'),
    'MFF': (mff, 'AEMFF'),
    'iTPN': (itpn_pixel, 'AEiTPN'),
    'iTPN, CLIP': (itpn_clip, 'AEiTPN'),
    'SparK': (spark, 'AESparK'),
    'SparK, ConvNeXt': (spark_convnext, 'AESparK'),
    'iBOT': (tiny.ibot, 'AEIBOT'),
    'CIM': (cim.cim, 'AECIM'),
    'HPM': (tiny.hpm, 'AEHPM'),
}
DRAW_THEIR_MASKS = {'MAE', 'MAE, HiViT', 'MILAN', 'EVA', 'MixMIM', 'MFF', 'iTPN', 'SparK', 'SparK, ConvNeXt', 'HPM'}
NEEDS_CLIP = {'MILAN', 'EVA', 'iTPN, CLIP'}
SIZES = {'MaskFeat': 56, 'MixMIM': 128, 'SparK': 128, 'SparK, ConvNeXt': 128, 'SimMIM': 32, 'HPM': 32}
GRIDS = {'MaskFeat': 14, 'SimMIM': 8}
SECOND_SIZES = {'BEiT': 32, 'BEiT v2': 64, 'CAE': 32, 'iTPN, CLIP': 64}


def stock(name, clip, **changes):
    """Return the config of a method of mmpretrain."""
    make = HOSTS[name][0]
    return make(clip, **changes) if name in NEEDS_CLIP else make(**changes)


def adversarial(name, clip, attack=None, **changes):
    """Return the config of AEMIM on it; ``attack`` holds arguments of the data preprocessor."""
    two = name in SECOND_SIZES
    kind = 'AdvTwoNormDataPreprocessor' if two else 'AdvDataPreprocessor'
    config = stock(name, clip, type=HOSTS[name][1], data_preprocessor=dict(type=kind, **attack or {}))
    return tiny.merged(config, changes)


def crops(size, batch=4, second_size=None):
    """Return crops of photographs, (B, 3, size, size), pixels 0-255; with a second size, two views of them."""
    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    whole = [photographs[i % 4][20 * i : 20 * i + 200, 100:300] for i in range(batch)]
    views = [
        torch.from_numpy(np.stack([cv2.resize(crop, (side, side), interpolation=how) for crop in whole]))
        for side, how in ((size, cv2.INTER_CUBIC), (second_size, cv2.INTER_LANCZOS4))
        if side
    ]
    views = [view.permute(0, 3, 1, 2) for view in views]
    return views if second_size else views[0]


def batch(name, model, size=4):
    """Return what the data preprocessor of a model gives for crops of photographs: inputs and data samples."""
    if name == 'iBOT':
        return model.data_preprocessor(tiny.ibot_batch(size), True)
    views = crops(SIZES.get(name, 64), size, SECOND_SIZES.get(name))
    samples = tiny.mask_samples(size, grid=(GRIDS.get(name, 4),) * 2)
    return model.data_preprocessor(dict(inputs=views, data_samples=samples), True)


def build(config, seed=0):
    """Build a model, with all weights seeded, in training mode."""
    torch.manual_seed(seed)
    # mmpretrain's sparse norms are found in its scope only, which the Runner sets.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(deepcopy(config))
    model.init_weights()
    model.train()
    return model


def pair(name, clip, **changes):
    """Build a stock model and AEMIM on it with the same weights, both in training mode."""
    models = build(stock(name, clip)), build(adversarial(name, clip, **changes), seed=1)
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    if models[0].target_generator is not None:
        # mmpretrain trains the codebook of BEiT v2's tokenizer in each step.
        models[0].target_generator.eval()
    return models


def seeded(seed=3) -> None:
    """Seed torch, and Python's generator, which MixMIM draws from."""
    torch.manual_seed(seed)
    random.seed(seed)


def mask_of(name, call) -> torch.Tensor:
    """Return what decides the hidden patches in a recorded call of the backbone, a tensor that equals itself only."""
    if name.startswith('SparK'):
        return call.args[0] == 0
    if len(call.args) > 1 and name != 'MILAN':
        return call.args[1]
    return call.output[2 if name == 'MILAN' else 1]


def total(losses) -> torch.Tensor:
    """Sum the losses of a step, without figures for the log."""
    return sum(value for name, value in losses.items() if 'loss' in name)
