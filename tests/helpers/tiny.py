"""Build tiny models of mmpretrain and of this package, two layers for images of 32 pixels, and data for them."""

from copy import deepcopy

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
SWIN = dict(
    type='SimMIMSwinTransformer',
    arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 2]),
    img_size=32,
    out_indices=(1,),
    drop_path_rate=0.1,
    stage_cfgs=dict(block_cfgs=dict(window_size=4)),
)


def merged(config: dict, changes: dict) -> dict:
    """Return a deep copy of ``config`` with nested dicts of ``changes`` merged in. MODELS.build may change it."""
    config = deepcopy(config)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = merged(config[name], value) if both else deepcopy(value)
    return config


def mae(**changes):
    """Return the config of mmpretrain's MAE."""
    config = dict(
        type='MAE',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', **NORMALIZE),
        backbone=dict(type='MAEViT', arch=ARCH, img_size=32, patch_size=8, mask_ratio=0.75),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=16,
            patch_size=8,
            embed_dim=32,
            decoder_embed_dim=32,
            decoder_depth=1,
            decoder_num_heads=2,
            mlp_ratio=2,
        ),
        head=dict(
            type='MAEPretrainHead',
            norm_pix=True,
            patch_size=8,
            loss=dict(type='PixelReconstructionLoss', criterion='L2'),
        ),
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
        ],
    )
    return merged(config, changes)


def aemim(**changes):
    """Return the config of AEMIM on MAE, with the same sizes."""
    config = mae(
        type='AEMIM',
        data_preprocessor=dict(type='AdvDataPreprocessor'),
        backbone=dict(type='AEMIMViT'),
        neck=dict(type='AEMIMDecoder', img_size=32),
        head=dict(type='AEMIMHead'),
    )
    return merged(config, changes)


def aemim_of_size(img_size, patch_size, channels=3, **changes):
    """Return the config of AEMIM for an image and patch size."""
    sizes = dict(img_size=img_size, patch_size=patch_size)
    config = aemim(
        data_preprocessor=dict(mean=[120.0] * channels, std=[60.0] * channels),
        backbone=dict(**sizes, patch_cfg=dict(in_channels=channels)),
        neck=dict(**sizes, in_chans=channels),
        head=dict(patch_size=patch_size, in_channels=channels),
    )
    return merged(config, changes)


def simmim(**changes):
    """Return the config of mmpretrain's SimMIM on Swin."""
    config = dict(
        type='SimMIM',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', **NORMALIZE),
        backbone=SWIN,
        neck=dict(type='SimMIMLinearDecoder', in_channels=24, encoder_stride=8),
        head=dict(
            type='SimMIMHead', patch_size=4, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)
        ),
    )
    return merged(config, changes)


def aesimmim(**changes):
    """Return the config of AEMIM on SimMIM with Swin. Its masks have 8x8 tokens."""
    return merged(simmim(type='AESimMIM', data_preprocessor=dict(type='AdvDataPreprocessor')), changes)


def aesimmim_vit(**changes):
    """Return the config of AEMIM on SimMIM with ViT. Its masks have 4x4 tokens."""
    config = aesimmim(neck=dict(in_channels=32), head=dict(patch_size=8))
    config['backbone'] = dict(type='SimMIMViT', arch=deepcopy(ARCH), img_size=32, patch_size=8)
    return merged(config, changes)


def ibot(**changes):
    """Return the config of iBOT for views of 32 and 16 pixels. Its masks have 4x4 tokens."""
    config = dict(
        type='IBOT',
        data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=('mask',), **NORMALIZE),
        backbone=dict(type='SimMIMViT', out_type='raw', arch=ARCH, img_size=32, patch_size=8),
        head=dict(type='IBOTHead', in_channels=32, hidden_channels=24, bottleneck_channels=8, out_channels=12),
    )
    return merged(config, changes)


def hpm(**changes):
    """Return the config of HPM on MAE, with the same sizes."""
    config = aemim(
        type='HPM',
        data_preprocessor=dict(type='SelfSupDataPreprocessor'),
        backbone=dict(adapters=()),
        neck=dict(type='HPMDecoder'),
        head=dict(type='HPMHead'),
    )
    return merged(config, changes)


def aehpm(**changes):
    """Return the config of AEMIM on HPM, with the same sizes."""
    return merged(hpm(type='AEHPM', data_preprocessor=dict(type='AdvDataPreprocessor')), changes)


def mimir(**changes):
    """Return the config of MIMIR on mmpretrain's MAE."""
    preprocessor = dict(type='AdvDataPreprocessor', eps=8, steps=1, step_size=10)
    return merged(mae(type='MIMIR', data_preprocessor=preprocessor), changes)


def ibot_batch(batch=4, crops=3, seed=0):
    """Return a batch of iBOT: two global views, local crops, and masks, some of which hide nothing."""
    views = [pixels(batch, seed=seed + number) for number in range(2)]
    views += [pixels(batch, (16, 16), seed=seed + 2 + number) for number in range(crops)]
    generator = torch.Generator().manual_seed(seed)
    samples = [DataSample() for _ in range(batch)]
    for number, sample in enumerate(samples):
        sample.set_field((torch.rand(2, 4, 4, generator=generator) < 0.2 * number).long(), 'mask')
    return dict(inputs=views, data_samples=samples)


def build(config: dict, seed=0, init=True):
    """Build the model of a config with seeded weights, in training mode."""
    torch.manual_seed(seed)
    model = MODELS.build(deepcopy(config))
    if init:
        model.init_weights()
    model.train()  # mmpretrain's backbones return None
    return model


def build_ibot(seed=0, **changes):
    """Build an iBOT whose teacher and centres are not where they start; the optimizer has not stepped since."""
    model = build(ibot(**changes), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*model.parameters(), model.centers]:
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
        model.seen.copy_(model.backbone.cls_token)
    return model


def build_hpm(seed=0, **changes):
    """Build an HPM whose teacher is not its student."""
    model = build(hpm(**changes), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.teacher.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model


def matched(config: dict, stock: torch.nn.Module):
    """Build the model of ``config`` with the weights of a stock model, in both domains."""
    model = build(config, seed=1)
    model.load_state_dict(stock.state_dict(), strict=True)
    return model


def part_domains(model: torch.nn.Module, seed=5, scale=0.1) -> None:
    """Add noise to the adversarial weights, so that they differ from the clean ones, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith('_adv'):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def pixels(batch=4, size=(32, 32), channels=3, seed=0):
    """Return smooth random images, (B, C, H, W), float pixels 0-255. Some pixels are exactly 0 or 255."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, 5, 5, generator=generator) * 330 - 40
    return torch.nn.functional.interpolate(coarse, size=size, mode='bilinear').clamp(0, 255)


def images(model, *args, **kwargs):
    """Return normalised images for ``model``. The arguments are those of ``pixels``."""
    return model.data_preprocessor(dict(inputs=pixels(*args, **kwargs), data_samples=None))['inputs']


def mask_samples(batch=4, grid=(8, 8), ratio=0.5, seed=0):
    """Return data samples with SimMIM masks, which all hide the same share of tokens."""
    generator = torch.Generator().manual_seed(seed)
    length = grid[0] * grid[1]
    masks = [(torch.randperm(length, generator=generator) < ratio * length).float().view(grid) for _ in range(batch)]
    samples = [DataSample() for _ in masks]
    for sample, mask in zip(samples, masks):
        sample.set_field(mask, 'mask')
    return samples


def snapshot(model) -> dict:
    """Return all state of a model that an attack must not change."""
    state = {f'value {name}': value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state[f'requires_grad {name}'] = parameter.requires_grad
        state[f'grad {name}'] = None if parameter.grad is None else parameter.grad.clone()
    for name, module in model.named_modules():
        state[f'training {name}'] = module.training
        state[f'track {name}'] = getattr(module, 'track_running_stats', None)
        state[f'domain {name}'] = getattr(module, 'domain', None)
        state[f'momentum {name}'] = getattr(module, 'momentum', None)
    return state


def assert_same_snapshot(got: dict, expected: dict) -> None:
    """Check that two snapshots are equal bit for bit."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(got[name], value) if isinstance(value, torch.Tensor) else got[name] == value
        assert same, name
