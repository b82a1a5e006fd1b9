"""Find the weights in a checkpoint, whatever wraps them."""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from mmengine.logging import print_log

from ..errors import UserError, first_of

# Where libraries keep the weights of the model that they train.
USUAL = ('state_dict', 'model')
_PARTS = r'(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
# What torch adds to the names of modules that it compiles, distributes or checkpoints.
WRAPPERS = re.compile(rf'^(module\.|{_PARTS})+|(?<![^.]){_PARTS}')
# What torch's and mmengine's averages add to the weights.
COUNTERS = ('n_averaged', 'steps')
# Names of OpenMMLab's models, and of mmpretrain's ViT and Swin alone.
OURS = r'backbone\.|layers\.\d+\.ln1\.|stages\.\d+\.blocks\.\d+\.attn\.w_msa\.'
# What mmpretrain's tokenizer of BEiT v2 has beside its encoder. It is loaded as a whole.
CODEBOOK = 'quantize.'


@dataclass
class Weights:
    """The weights in a checkpoint.

    Attributes:
        state: Names and tensors, and whatever else the model put into its state dict.
        left_out: Other entries of the checkpoint, each with the reason.
        notes: What the log has to say: where the weights are, what was removed from their names, and which other
            weights the file holds.
    """

    state: dict
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name."""
        return {name: value for name, value in self.state.items() if isinstance(value, torch.Tensor)}

    def log(self, path: object) -> None:
        """Log the notes in one line, if there are any."""
        if self.notes:
            print_log(f'{path}: {"; ".join(self.notes)}.', 'current', logging.WARNING)


def weights_of(checkpoint: dict, path: object = 'the checkpoint') -> Weights:
    """Return the weights in a checkpoint.

    They are the tensors of ``state_dict`` or ``model``, of the only dict that holds as many, or of the checkpoint
    itself. What torch's wrappers add is removed from the names, and so is a prefix before OpenMMLab's names, such as
    Lightning's ``model.``, unless mmengine has saved the model with it.

    Args:
        checkpoint: The content of a file.
        path: The file, for messages.

    Raises:
        UserError: There are no weights, or several sets of which none has a usual name, as DINO's ``student`` and
            ``teacher``, or names that differ by their wrappers only.
    """
    key, sets = _key(checkpoint, path)
    content = sets[key]
    state, removed = _unwrapped(content, path)
    found = [] if any(name.startswith(CODEBOOK) for name in state) else prefixes(state, OURS)
    left_out = {str(name): 'no tensor' for name, value in content.items() if not isinstance(value, torch.Tensor)}
    if len(found) == 1 and found[0] and 'message_hub' not in checkpoint:
        removed.append(found[0])
        left_out |= outside(state, found[0])
        state = {name.removeprefix(found[0]): value for name, value in state.items() if name.startswith(found[0])}
    notes = [f'the weights are in {key!r}'] if key not in ('', *USUAL) else []
    notes += [f'{" and ".join(map(repr, removed))} removed from the names'] if removed else []
    others = [name for name in sets if name != key]
    if others:
        names = first_of(f'{path}#{name}' for name in others)
        notes.append(f'{repr(key) if key else "the outermost"} is taken; for other weights in the file, name {names}')
    if key:
        left_out |= {name: 'the state of a training, no weights' for name in map(str, checkpoint) if name != key}
    left_out |= {name: f'other weights: to take them, use CHECKPOINT#NAME, as in {path}#{name}' for name in others}
    if key == 'state_dict' and 'ema_state_dict' in others:
        left_out['ema_state_dict'] = "not the average, which mmengine's EMAHook puts into state_dict"
    return Weights(state, left_out, notes)


def outside(state: dict, prefix: str) -> dict[str, str]:
    """Return the names that do not begin with a prefix, each with the reason for leaving it out."""
    return {name: f'its name does not begin with {prefix}' for name in state if not name.startswith(prefix)}


def _sets(content: dict, path: str = '', depth: int = 4) -> dict[str, dict]:
    """Return the dicts that hold tensors, by their keys joined by dots; '' is ``content`` itself."""
    if 'param_groups' in content:  # The state of an optimizer.
        return {}
    sets = {path: content} if _size(content) else {}
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(key, str) and depth:
            sets |= _sets(value, f'{path}.{key}' if path else key, depth - 1)
    return sets


def _size(content: dict) -> int:
    return sum(isinstance(value, torch.Tensor) for value in content.values())


def _key(checkpoint: dict, path: object) -> tuple[str, dict[str, dict]]:
    """Return the key of the weights, and all sets that may be weights."""
    sets = _sets(checkpoint)
    if not sets:
        keys = first_of(map(repr, checkpoint), 8) or 'nothing'
        raise UserError(
            f'The checkpoint {path} holds no weights, only {keys}. Expected a file by mmengine, or a dict of names and '
            'tensors.'
        )
    most = max(map(_size, sets.values()))
    # Others are, for instance, the centre of a loss.
    sets = {key: content for key, content in sets.items() if 2 * _size(content) > most}
    key = next((key for key in ('', *USUAL) if key in sets), None)
    if key is None and len(sets) > 1:
        raise UserError(
            f'{path} holds several sets of weights: {first_of(sets)}. Choose one with CHECKPOINT#NAME, as in '
            f'{path}#{next(iter(sets))}.'
        )
    return next(iter(sets)) if key is None else key, sets


def _unwrapped(content: dict, path: object) -> tuple[dict, list[str]]:
    """Remove from the names what torch's wrappers add; return the result and what was removed."""
    wrong = next((name for name in content if not isinstance(name, str)), None)
    if wrong is not None:
        raise UserError(
            f'{path} has an entry {wrong!r} of type {type(wrong).__name__} among its weights. Expected names of '
            "parameters, as in a model's state_dict()."
        )
    matches = [match for name in content for match in WRAPPERS.finditer(name)]
    if not matches:
        return content, []  # The same object: it may carry the versions of modules.
    state, before = {}, {}
    for name, value in content.items():
        new = WRAPPERS.sub('', name)
        if new in state:
            raise UserError(
                f'{path} has both {before[new]} and {name}, which are one parameter in two wrappers. Choose one set '
                f'of weights, and save it alone.'
            )
        if new not in COUNTERS:
            state[new], before[new] = value, name
    return state, sorted({match.group() for match in matches})


def prefixes(names: Iterable[str], signature: str) -> list[str]:
    """Return the prefixes behind which names match a signature, such as ``['student.', 'teacher.']``.

    Prefixes behind another one, in a layer of another kind, or of few names (a decoder) do not count.

    Args:
        names: Names of tensors.
        signature: A regular expression for the beginning of a known name.
    """
    pattern, counts = re.compile(signature), Counter()
    for name in names:
        starts = [0, *(match.end() for match in re.finditer(r'\.', name))]
        counts.update(name[:start] for start in starts if pattern.match(name, start))
    found = [prefix for prefix, count in counts.items() if 2 * count >= max(counts.values())]
    found = [prefix for prefix in found if not re.search(r'(layers|stages|blocks)\.\d+\.$', prefix)]
    return [prefix for prefix in found if not any(prefix != o and prefix.startswith(o) for o in found)]


def several_encoders(path: object, found: list[str]) -> UserError:
    """Return the error for weights with several prefixes; it lists them with the way to choose."""
    separator = '.' if '#' in str(path) else '#'
    names = [f'{path}{separator}{prefix[:-1] or "..."}' for prefix in found]
    return UserError(f'{path} holds several encoders. Choose one of {first_of(names)}.')


def select(content: dict, name: str, path: object) -> dict:
    """Return one set of weights of a checkpoint: a dict in it, or the tensors whose names begin with ``name.``.

    Returns:
        A checkpoint with ``state_dict`` and, if there is one, ``meta``.

    Raises:
        UserError: There is neither.
    """
    sets = _sets(content)
    chosen = sets.get(name)
    if chosen is None:
        whole = {f'{key}.{inner}': value for key, state in sets.items() for inner, value in _clean(state)}
        chosen = _below(whole, name)
    if not chosen:
        chosen = _below(dict(_clean(sets[key])) if (key := _key(content, path)[0]) in sets else {}, name)
    if not chosen:
        raise UserError(f'{path} has no {name!r}, only {first_of(map(repr, sets if any(sets) else content), 8)}.')
    return {'state_dict': chosen, **({'meta': content['meta']} if 'meta' in content else {})}


def _clean(state: dict) -> Iterable:
    return ((WRAPPERS.sub('', str(name)), value) for name, value in state.items())


def _below(state: dict, name: str) -> dict:
    return {key.removeprefix(f'{name}.'): value for key, value in state.items() if key.startswith(f'{name}.')}
