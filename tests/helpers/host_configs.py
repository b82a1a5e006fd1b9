"""Cut the models of the configs under hosts/ to few narrow layers, with tiny random target networks."""

from mmengine.config import Config

from . import hosts, runs, tiny

ARCH = dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=64)
# The number of the output has to be above the four layers before the last stage, which HiViT counts too.
HIVIT = dict(arch=dict(embed_dims=64, depths=[1, 1, 5], num_heads=2), out_indices=[4])
DECODER = dict(embed_dim=64, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2)
BEIT = dict(backbone=dict(arch=ARCH), head=dict(embed_dims=64))
DALLE = dict(target_generator=dict(**hosts.TOKENIZER, init_cfg=None))
VIT = dict(backbone=dict(arch=ARCH), neck=DECODER)

# A part of the config's name to changes of the model.
CHANGES = {
    'beit_': dict(**BEIT, **DALLE),
    'beit-v2_': dict(
        backbone=dict(arch=ARCH, out_indices=[0, -1]),
        neck=dict(num_layers=1, early_layers=1, backbone_arch=dict(ARCH, depth=2)),
        head=BEIT['head'],
        target_generator=dict(
            encoder_config=dict(arch=ARCH), num_embed=32, embed_dims=8, quantize_kmeans_init=False, init_cfg=None
        ),
    ),
    'cim': dict(
        backbone=dict(arch=ARCH),
        generator=dict(vocab_size=32, backbone=dict(arch=ARCH)),
        target_generator=dict(
            tokenizer=dict(
                encoder=dict(n_hid=4, n_blk_per_group=1, vocab_size=32, init_cfg=None),
                decoder=dict(n_init=4, n_hid=4, n_blk_per_group=1, vocab_size=32, init_cfg=None),
            )
        ),
        head=dict(in_channels=64),
    ),
    'cae_': dict(
        backbone=dict(arch=ARCH), neck=dict(embed_dims=64, num_heads=2, regressor_depth=1, decoder_depth=1), **DALLE
    ),
    'maskfeat_': dict(backbone=dict(arch=ARCH), neck=dict(in_channels=64)),
    'milan_': VIT,
    'eva_': VIT,
    'mixmim_': dict(
        backbone=dict(arch=dict(embed_dims=16, depths=[1] * 4, num_heads=[1, 2, 2, 4])),
        neck=dict(DECODER, embed_dim=128),
    ),
    'mff_': dict(backbone=dict(arch=ARCH, out_indices=[0, 1]), neck=DECODER),
    'mae_': dict(backbone=HIVIT, neck=DECODER),
    'aemim_': dict(backbone=HIVIT, neck=DECODER),
    'itpn-pixel_': dict(backbone=HIVIT, neck=dict(DECODER, fpn_dim=32, fpn_depth=1)),
    'itpn-clip_': dict(
        backbone=HIVIT, neck=dict(embed_dim=64, fpn_dim=64, fpn_depth=1, decoder_embed_dim=64), head=dict(embed_dims=64)
    ),
    'sparse-resnet50': dict(
        enc_dec_norm_dim=256, backbone=dict(stem_channels=8, base_channels=8), neck=dict(feature_dim=32)
    ),
    'sparse-convnext': dict(
        enc_dec_norm_dim=64,
        backbone=dict(arch=dict(depths=[1] * 4, channels=[8, 16, 32, 64])),
        neck=dict(feature_dim=32),
    ),
}


def shrink(name: str, model: dict, clip: str | None = None) -> dict:
    """Return the model of a config under hosts/, or of its baseline, with few narrow layers.

    Args:
        name: Name of the config's file.
        model: The model in the config.
        clip: File with the weights of a tiny CLIP for images of 224 pixels and 512 features.
    """
    (changes,) = (changes for part, changes in CHANGES.items() if part in name)
    if 'tokenizer_path' in (model.get('target_generator') or {}):
        changes = dict(changes, target_generator=dict(tokenizer_path=clip))
    return tiny.merged(model, changes)


def write(name: str, path) -> str:
    """Write a config that inherits one under hosts/, with few narrow layers.

    Args:
        name: Name of the config's file.
        path: The file to write. The target network's weights are as in the base config.
    """
    base = runs.CONFIGS / 'hosts' / name
    (changes,) = (changes for part, changes in CHANGES.items() if part in name)
    model = inherited(changes, Config.fromfile(base).model)
    keep_weights(model.get('target_generator', {}))
    path.write_text(f'_base_ = {str(base)!r}\nmodel = {model!r}\n')
    return str(path)


def keep_weights(changes: dict) -> None:
    """Remove changes of ``init_cfg``, in place."""
    changes.pop('init_cfg', None)
    for value in changes.values():
        if isinstance(value, dict):
            keep_weights(value)


def inherited(changes: dict, base: dict) -> dict:
    """Return changes such that a config that inherits takes a dict in the place of a name."""
    result = {}
    for key, value in changes.items():
        if isinstance(value, dict):
            inner = base.get(key)
            value = inherited(value, inner) if isinstance(inner, dict) else dict(value, _delete_=True)
        result[key] = value
    return result
