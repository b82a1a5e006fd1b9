"""Read the encoder of a checkpoint of any known layout into our names."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from ..adapters import merged_lora
from ..checkpoints.downloads import local_file, no_checkpoint
from ..checkpoints.reading import read_checkpoint, split_name
from ..checkpoints.tensors import refuse_faulty
from ..checkpoints.weights import outside, prefixes, several_encoders, weights_of
from ..errors import UserError, first_of, unknown_name
from . import facebook, huggingface, mmpretrain, swin
from .names import Converted
from .shapes import check_ranks, check_shapes
from .spec import EncoderSpec, describe
from .stored import fields_of_config

METADATA = 'aemim_mm'
OUR_LAYERS = r'(layers\.\d+\.ln1|stages\.\d+\.blocks\.\d+\.attn\.w_msa)\.'
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
    Layout('aemim or mmpretrain, whole models (backbone.*)', rf'backbone\.{OUR_LAYERS}', mmpretrain.to_pivot),
    Layout('mmpretrain, encoders (layers.0.ln1.*, stages.0.*)', OUR_LAYERS, mmpretrain.bare_to_pivot),
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
        trusted: As in ``read_checkpoint``.

    Raises:
        UserError: The file does not exist, has unknown names, holds no whole encoder, or lacks the adapters of the
            domain.
    """
    if domain not in DOMAINS:
        raise unknown_name('domain', domain, DOMAINS)
    file, stored = (str(path), {}) if '://' in str(path) else _file_of(Path(path))
    checkpoint = read_checkpoint(file, trusted=trusted)
    weights = weights_of(checkpoint, path)
    stored = _metadata(checkpoint, file, stored, path)
    if num_heads:
        stored['num_heads'] = num_heads
    state, adapters = _select_domain(weights.tensors, domain, path)
    layout, prefix = _layout_of(state, path)
    left_out = weights.left_out | outside(state, prefix)
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    refuse_faulty(state, path)
    if prefix:
        weights.notes.append(f'{prefix!r} removed from the names')
    weights.log(path)
    converted = layout.to_pivot(state)
    unknown = [name for name, reason in converted.left_out.items() if reason is None]
    if unknown:
        raise UserError(
            f'{path} looks like {layout.title}, but a plain encoder has no {first_of(unknown)}: without '
            f'{"it" if len(unknown) == 1 else "them"}, it would compute something else. {_known()}'
        )
    check_ranks(converted.state, path)
    spec = describe(converted.state, stored)
    check_shapes(converted.state, spec, path)
    return Source(converted.state, spec, layout.title, {**left_out, **adapters, **converted.left_out})


def _file_of(path: Path) -> tuple:
    if not path.is_dir():
        return path, {}
    files = [path / name for name in ('model.safetensors', 'pytorch_model.bin') if (path / name).is_file()]
    if not files:
        raise UserError(
            f'The folder {path} has no model.safetensors or pytorch_model.bin, which save_pretrained of Hugging Face '
            f'writes. {str(no_checkpoint(path)).format(file=path)}.'
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


def _metadata(checkpoint: dict, file, of_folder: dict, path) -> dict:
    """Read fields of ``EncoderSpec``; refuse a normalization that no image has."""
    # Users may edit config.json, so it precedes the metadata of the file with the weights.
    stored = {**_stored(checkpoint, file), **of_folder}
    for name, lowest in dict(mean=-math.inf, std=0).items():
        values = stored.get(name)
        values = values if isinstance(values, (list, tuple)) else ()
        if any(isinstance(value, (int, float)) and not lowest < value < math.inf for value in values):
            raise UserError(
                f'{path} states the {name} {values} of its images. Expected finite numbers'
                f'{" > 0" if lowest == 0 else ""}; correct its metadata.'
            )
    return stored


def _stored(checkpoint: dict, file) -> dict:
    """Read fields of ``EncoderSpec`` from our metadata, or from the config of the run."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    whole = split_name(file)[0]
    if whole.endswith('.safetensors'):
        try:
            with safe_open(local_file(whole), framework='pt') as opened:
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
    """Give the tensors of one domain the stock names; list those of the other domain as left out.

    LoRA is merged into the weights. Other additions have no place in a stock model.
    """
    own, other = ('_clean', '_adv') if domain == 'clean' else ('_adv', '_clean')
    title = dict(_clean='clean', _adv='adversarial')
    if domain == 'adv' and not any(name.endswith('_adv') for name in state):
        raise UserError(f'{path} has no adversarial adapters (names that end in _adv). Take --domain clean.')
    state = merged_lora(state, domain)
    left_out = {name: f'an adapter of the {title[other]} domain' for name in state if name.endswith(other)}
    stock = {name: value for name, value in state.items() if not name.endswith(('_clean', '_adv'))}
    adapters = {name.removesuffix(own): value for name, value in state.items() if name.endswith(own)}
    alone = [f'{name}{own}' for name in adapters if name not in stock]
    if alone:
        advice = 'Train with both=False, or LoRA' if domain == 'clean' else 'Take --domain clean'
        raise UserError(
            f'The {title[own]} domain of {path} has {first_of(alone)}, which stock models have no place for. {advice}.'
        )
    return {**stock, **adapters}, {**left_out, **dict.fromkeys(adapters, 'an adapter of the clean domain')}


def _layout_of(state: dict, path) -> tuple[Layout, str]:
    """Return the layout of these names, and the prefix before them, such as ``model.`` of Lightning."""
    prefixed = prefixes(state, '|'.join(layout.signature for layout in SOURCES))
    if len(prefixed) > 1:
        raise several_encoders(path, prefixed)
    prefix = ''.join(prefixed)
    names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    found = [layout for layout in SOURCES if any(re.match(layout.signature, name) for name in names)]
    if len(found) == 1:
        return found[0], prefix
    if found:
        titles = ' and of '.join(layout.title for layout in found)
        raise UserError(f'{path} mixes names of {titles}. Expected one layout; take the file of one model. {_known()}')
    raise UserError(f'{path} has {first_of(state)}, and no names of a layout that is known. {_known()}')


def _known() -> str:
    return f'Known: {"; ".join(layout.title for layout in SOURCES)}.'
