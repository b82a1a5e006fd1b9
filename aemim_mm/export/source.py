"""Read the encoder of a checkpoint of any known layout into our names."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.weights import weights_of
from ..errors import UserError, first_of, unknown_name
from . import facebook, huggingface, mmpretrain, swin
from .names import Converted
from .spec import EncoderSpec, describe
from .stored import fields_of_config

METADATA = 'aemim_mm'
DOMAINS = ('clean', 'adv')


class Layout(NamedTuple):
    """The tensor names of a library.

    Attributes:
        title: The libraries that use these names, for messages.
        signature: A regular expression for names that only this layout has.
        to_pivot: Converts tensors under these names to ours.
    """

    title: str
    signature: str
    to_pivot: Callable[[dict], Converted]


SOURCES = (
    Layout('aemim or mmpretrain, whole models (backbone.*)', r'backbone\.', mmpretrain.to_pivot),
    Layout(
        'mmpretrain, encoders (layers.0.ln1.*, stages.0.*)',
        r'(layers\.\d+\.ln1|stages\.\d+)\.',
        mmpretrain.bare_to_pivot,
    ),
    Layout('facebookresearch/mae and timm ViT (blocks.0.norm1.*)', r'blocks\.\d+\.norm1\.', facebook.to_pivot),
    Layout(
        'Hugging Face ViT and ViTMAE (encoder.layer.0.*)',
        r'(vit\.)?encoder\.layer\.\d+\.layernorm_before\.',
        huggingface.to_pivot,
    ),
    Layout('timm Swin (layers.0.blocks.0.*)', r'layers\.\d+\.blocks\.\d+\.norm1\.', swin.to_pivot),
)


@dataclass
class Source:
    """The encoder of a checkpoint, in one domain.

    Attributes:
        state: Tensors under our names.
        spec: The description of the encoder.
        layout: The layout of the checkpoint, for messages.
        left_out: Names in the checkpoint that are not in ``state``, each with the reason.
    """

    state: dict
    spec: EncoderSpec
    layout: str
    left_out: dict = field(default_factory=dict)


def read_source(
    path: str | PathLike, *, domain: str = 'clean', num_heads: int | None = None, trusted: bool = False
) -> Source:
    """Read a checkpoint of any known layout.

    Args:
        path: A file (.pth, .bin, .safetensors) or its URL, or a folder of Hugging Face with config.json.
        domain: ``'clean'``, or ``'adv'`` for the adapters of the adversarial domain.
        num_heads: Number of attention heads, if the checkpoint does not say.
        trusted: As in :func:`read_checkpoint`.

    Raises:
        UserError: The file does not exist, has unknown names, holds no whole encoder, or lacks the adapters of the
            domain.
    """
    if domain not in DOMAINS:
        raise unknown_name('domain', domain, DOMAINS)
    file, stored = (str(path), {}) if '://' in str(path) else _file_of(Path(path))
    checkpoint = read_checkpoint(file, trusted=trusted)
    state, left_out, _ = weights_of(checkpoint, path)
    # Users may edit config.json, so it precedes the metadata of the file with the weights.
    stored = {**_stored(checkpoint, file), **stored}
    if num_heads:
        stored['num_heads'] = num_heads
    std = stored.get('std') or ()
    if isinstance(std, (list, tuple)) and any(isinstance(value, (int, float)) and not value > 0 for value in std):
        raise UserError(f'{path} states the deviation {std} of its images. Expected numbers > 0; correct its metadata.')
    state, adapters = _select_domain(state, domain, path)
    layout, prefix = _layout_of(state, path)
    if prefix:
        left_out |= {name: f'its name does not begin with {prefix}' for name in state if not name.startswith(prefix)}
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    converted = layout.to_pivot(state)
    unknown = [name for name, reason in converted.left_out.items() if reason is None]
    if unknown:
        raise UserError(
            f'{path} looks like {layout.title}, but a plain encoder has no {first_of(unknown)}: without '
            f'{"it" if len(unknown) == 1 else "them"}, it would compute something else. {_known()}'
        )
    spec = describe(converted.state, stored)
    return Source(converted.state, spec, layout.title, {**left_out, **adapters, **converted.left_out})


def _file_of(path: Path) -> tuple:
    if not path.is_dir():
        return path, {}
    files = [path / name for name in ('model.safetensors', 'pytorch_model.bin') if (path / name).is_file()]
    if not files:
        raise UserError(
            f'The folder {path} has no model.safetensors or pytorch_model.bin. Pass a checkpoint, or a folder that '
            'save_pretrained of Hugging Face wrote, in one piece.'
        )
    configs = []
    for name in ('config.json', 'preprocessor_config.json'):
        try:
            configs.append(json.loads((path / name).read_text(encoding='utf-8')))
        except FileNotFoundError:
            configs.append({})
        except ValueError as error:
            raise UserError(f'{path / name} is no JSON ({error}). Restore it, or remove it.') from error
        if not isinstance(configs[-1], dict):
            kind = type(configs[-1]).__name__
            raise UserError(f'{path / name} holds a {kind}, not an object of fields. Restore it, or remove it.')
    return files[0], huggingface.fields(*configs)


def _stored(checkpoint: dict, file) -> dict:
    """Read fields of ``EncoderSpec`` from our metadata, or from the config of the run."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    if str(file).endswith('.safetensors'):
        try:
            with safe_open(file, framework='pt') as opened:
                meta = opened.metadata() or {}
        except (SafetensorError, OSError):
            meta = {}
    ours = meta.get(METADATA)
    if isinstance(ours, str):
        try:
            ours = json.loads(ours)
        except ValueError:
            ours = None
    if isinstance(ours, dict):
        return ours
    return fields_of_config(meta['cfg']) if isinstance(meta.get('cfg'), str) else {}


def _select_domain(state: dict, domain: str, path) -> tuple:
    """Give the tensors of one domain the stock names; list those of the other domain as left out."""
    adapters = {name: value for name, value in state.items() if name.endswith('_adv')}
    stock = {name: value for name, value in state.items() if name not in adapters}
    if domain == 'clean':
        return stock, dict.fromkeys(adapters, 'an adapter of the adversarial domain')
    if not adapters:
        raise UserError(f'{path} has no adversarial adapters (names that end in _adv). Take --domain clean.')
    alone = [name for name in adapters if name.removesuffix('_adv') not in stock]
    if alone:
        raise UserError(
            f'The adversarial domain of {path} has {first_of(alone)}, which stock models have no place for. Take '
            '--domain clean.'
        )
    replaced = {name.removesuffix('_adv'): value for name, value in adapters.items()}
    return {**stock, **replaced}, dict.fromkeys(replaced, 'an adapter of the clean domain')


def _layout_of(state: dict, path) -> tuple[Layout, str]:
    """Return the layout of these names, and the prefix before them, such as ``model.`` of Lightning."""
    found = [(layout, '') for layout in SOURCES if any(re.match(layout.signature, name) for name in state)]
    # The names of a whole model are ours, unless they hold an encoder of another library.
    for layout in SOURCES[1:] if not found or found[0][0] is SOURCES[0] else ():
        matches = (re.match(rf'(.+?\.)(?={layout.signature})', name) for name in state)
        prefixes = {match[1] for match in matches if match}
        if len(prefixes) == 1 and (not found or layout is not SOURCES[1]):
            found = [(layout, prefixes.pop())]
            break
        if len(prefixes) > 1 and all(prefix.count('.') == 1 for prefix in prefixes):
            raise UserError(
                f'{path} holds several encoders: {first_of(sorted(prefixes))}. Choose one with CHECKPOINT#NAME, as in '
                f'{path}#{min(prefixes)[:-1]}.'
            )
    if len(found) == 1:
        return found[0]
    if found:
        titles = ' and of '.join(layout.title for layout, _ in found)
        raise UserError(f'{path} mixes names of {titles}. Expected one layout; take the file of one model. {_known()}')
    has = f'has {first_of(state)}, and' if state else 'has no tensors, so'
    raise UserError(f'{path} {has} no names of a layout that is known. {_known()}')


def _known() -> str:
    return f'Known: {"; ".join(layout.title for layout in SOURCES)}.'
