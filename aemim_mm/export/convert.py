"""Write an encoder for another library. ``tools/export.py`` calls :func:`export`."""

import re
from collections import Counter
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from ..checkpoints.reading import split_name
from ..errors import UserError, first_of, unknown_name
from . import facebook, huggingface, mmpretrain, swin
from .files import refuse_overwriting, write_json, write_weights
from .sizes import resize
from .source import METADATA, read_source
from .spec import EncoderSpec


class Target(NamedTuple):
    """A layout to write.

    Attributes:
        from_pivot: For each kind of encoder, the function that converts tensors under our names.
        key: The key under which a .pth file holds the tensors; None if it holds them alone.
    """

    from_pivot: dict
    key: str | None = 'state_dict'


TARGETS = {
    'aemim': Target(dict(vit=mmpretrain.to_aemim, swin=mmpretrain.to_aemim)),
    'mmpretrain': Target(dict(vit=mmpretrain.to_mmpretrain, swin=mmpretrain.to_mmpretrain)),
    'vitdet': Target(dict(vit=mmpretrain.to_vitdet, swin=mmpretrain.to_vitdet)),
    'timm': Target(dict(vit=facebook.to_timm, swin=swin.to_timm), key=None),
    'mae': Target(dict(vit=facebook.to_mae), key='model'),
    'huggingface': Target(dict(vit=huggingface.to_huggingface)),
}
TIMM_NAMES = {
    (768, 12, 12, (16, 16)): 'vit_base_patch16_224',
    (1024, 24, 16, (16, 16)): 'vit_large_patch16_224',
    (1280, 32, 16, (14, 14)): 'vit_huge_patch14_224',
}


@dataclass
class ExportReport:
    """The result of an export.

    Attributes:
        path: The file or folder that was written.
        spec: The description of the encoder.
        layout: The layout of the checkpoint that was read.
        target: The layout that was written, a name in ``TARGETS``.
        domain: ``'clean'`` or ``'adv'``.
        written: Number of tensors in the file.
        left_out: Names of tensors that were not written, each with the reason.
        notes: How to load the file.
    """

    path: Path
    spec: EncoderSpec
    layout: str
    target: str
    domain: str
    written: int
    left_out: dict
    notes: list = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f'read as {self.layout}', f'{self.written} tensors ({self.domain} domain) in {self.path}']
        for reason, count in Counter(self.left_out.values()).items():
            names = [name for name, why in self.left_out.items() if why == reason]
            lines.append(f'{count} left out, {reason}: {first_of(names, 3)}')
        return '\n'.join([*lines, *self.notes])


def export(
    path: str | PathLike,
    to: str,
    *,
    domain: str = 'clean',
    out: str | PathLike | None = None,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | tuple[int, int] | None = None,
    num_heads: int | None = None,
    force: bool = False,
    trusted: bool = False,
) -> ExportReport:
    """Write the encoder of a checkpoint under the names of another library.

    If the library has a decoder for it, the decoder of the checkpoint is written, too.

    Args:
        path: A checkpoint of any layout, as in :func:`read_source`.
        to: A name in ``TARGETS``.
        domain: ``'clean'``, or ``'adv'`` to write the adapters of the adversarial domain under the stock names.
        out: A file (.safetensors or .pth), or a folder for Hugging Face. Default: beside the checkpoint.
        img_size, patch_size: Fit the encoder to images and patches of this size; see ``aemim_mm.export.sizes.resize``.
        num_heads: Number of attention heads, if the checkpoint does not say.
        force: Replace existing files.
        trusted: As in ``read_checkpoint``.

    Returns:
        What was written.

    Raises:
        UserError: The checkpoint cannot be read or converted, or the output exists already.
    """
    if to not in TARGETS:
        raise unknown_name('target', to, TARGETS)
    out = output_path(str(path), to, domain, img_size, patch_size) if out is None else Path(out)
    files = _files(out, to)
    refuse_overwriting(files, force)
    source = read_source(path, domain=domain, num_heads=num_heads, trusted=trusted)
    state, spec = source.state, source.spec
    target = TARGETS[to]
    if spec.kind not in target.from_pivot:
        raise UserError(
            f'{path} holds a Swin, which --to {to} has no names for. Known for Swin: '
            f'{", ".join(name for name in TARGETS if "swin" in TARGETS[name].from_pivot and name != "vitdet")}.'
        )
    resized = resize(state, spec, img_size, patch_size)
    converted = target.from_pivot[spec.kind](state, spec)
    left_out, notes = {**source.left_out, **resized, **converted.left_out}, _notes(to, state, spec, files[-1])
    report = ExportReport(out, spec, source.layout, to, domain, len(converted.state), left_out, notes)
    metadata = {METADATA: {**spec.stored(), 'domain': domain, 'layout': to, 'source': Path(path).name}}
    if to == 'huggingface':
        write_json(out / 'config.json', huggingface.config_json(state, spec))
        write_json(out / 'preprocessor_config.json', huggingface.preprocessor_json(spec))
    write_weights(files[-1], converted.state, target.key, metadata)
    return report


def output_path(
    path: str,
    to: str,
    domain: str,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | tuple[int, int] | None = None,
) -> Path:
    """Return the file or folder that is written by default: beside the checkpoint, or here for a download."""
    path, chosen = split_name(path)
    file = Path(urlparse(path).path.split('/')[-1] if '://' in path else path)
    name = '_'.join(filter(None, [file.name if file.is_dir() else file.stem, re.sub(r'[^\w.-]+', '_', chosen), to]))
    name += '_adv' if domain == 'adv' else ''
    for size, unit in ((img_size, 'px'), (patch_size, 'px-patches')):
        if size is not None:
            name += f'_{size}{unit}' if isinstance(size, int) else f'_{size[0]}x{size[1]}{unit}'
    return file.with_name(name + dict(huggingface='', onnx='.onnx').get(to, '.safetensors'))


def _files(out: Path, to: str) -> list:
    if to == 'huggingface':
        if out.suffix in ('.safetensors', '.pth', '.bin') or out.is_file():
            raise UserError(f'--to huggingface writes a folder, but --out is {out}. Name a folder.')
        return [out / name for name in ('config.json', 'preprocessor_config.json', 'model.safetensors')]
    if out.suffix not in ('.safetensors', '.pth'):
        raise UserError(f'--out ends in .safetensors or .pth, but got {out}.')
    return [out]


def _notes(to: str, state: dict, spec: EncoderSpec, file: Path) -> list:
    """How to load the file, and which settings the library needs."""
    notes = []
    if to in ('aemim', 'mmpretrain', 'vitdet'):
        part = 'load_from' if to == 'aemim' else "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')"
        notes.append(f'load it by {part}')
    elif to == 'timm':
        load = f"safetensors.torch.load_file('{file}')" if file.suffix == '.safetensors' else f"torch.load('{file}')"
        notes.append(f'load it by model = {_timm_model(state, spec)}; model.load_state_dict({load})')
    elif to == 'huggingface':
        names = 'ViTMAEForPreTraining, ViTModel' if huggingface.has_decoder(state, spec) else 'ViTModel'
        notes.append(f'load it by from_pretrained of {names}')
    if to != 'huggingface' and spec.eps != (1e-6 if spec.kind == 'vit' else 1e-5):
        notes.append(f'its norms were trained with eps={spec.eps}: build the model with it')
    if not spec.to_rgb and spec.in_channels == 3:
        notes.append('it was trained on blue, green, red (to_rgb=False): give it channels in that order')
    return notes


def _timm_model(state: dict, spec: EncoderSpec) -> str:
    """The Python code that builds timm's model for these tensors."""
    classes = len(state['head.fc.weight']) if 'head.fc.weight' in state else 0
    size = f'img_size={spec.img_size}'
    if spec.kind == 'swin':
        return (
            f'timm.models.SwinTransformer({size}, patch_size={spec.patch_size[0]}, in_chans={spec.in_channels}, '
            f'embed_dim={spec.embed_dims}, depths={spec.depths}, num_heads={spec.stage_heads}, '
            f'window_size={spec.window_size}, num_classes={classes})'
        )
    pool = 'avg' if 'backbone.ln2.weight' in state else 'token'
    last = f"num_classes={classes}, global_pool='{pool}')"
    name = TIMM_NAMES.get((spec.embed_dims, spec.num_layers, spec.heads(), spec.patch_size))
    if name and spec.in_channels == 3:
        return f"timm.create_model('{name}', {size}, {last}"
    ratio = spec.feedforward_channels / spec.embed_dims
    return (
        f'timm.models.VisionTransformer({size}, patch_size={spec.patch_size}, in_chans={spec.in_channels}, '
        f'embed_dim={spec.embed_dims}, depth={spec.num_layers}, num_heads={spec.heads()}, mlp_ratio={ratio:g}, {last}'
    )
