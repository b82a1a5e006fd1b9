"""Does this checkpoint fit this model? Asked before training, since mmengine only logs what did not load."""

import re
from dataclasses import dataclass, field

import torch

from .errors import UserError
from .loading import read_checkpoint

# Models bring these to the size they need when they load them.
RESIZED = ('pos_embed', 'relative_position_bias_table', 'relative_position_index', 'rel_pos_h', 'rel_pos_w')
# Of a task that may differ from the checkpoint's, as with another number of classes.
HEAD = re.compile(r'(^|\.|_)head\.')
# If the checkpoint has more of these, its encoder is deeper than the model's.
LAYER = re.compile(r'(^|^backbone\.)(layers|stages|blocks)\.\d+\..*(?<!_adv)$')
HINTS = {
    'same': ' To start from its weights rather than resume, leave out --resume and use '
    '--cfg-options load_from=CHECKPOINT resume=False.',
    'most': " To load one part of it, init_cfg takes a prefix, such as 'backbone.'.",
}


@dataclass
class LoadReport:
    """How the tensors of a checkpoint compare with those of a model, by name."""

    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    mismatched: list = field(default_factory=list)
    fitting: list = field(default_factory=list)
    # Adversarial adapters that the checkpoint lacks: they start from the clean ones.
    copied: list = field(default_factory=list)

    def __str__(self):
        lines = [f'{len(self.fitting)} tensors fit']
        if self.copied:
            lines.append(f'{len(self.copied)} adversarial adapters start from the clean ones')
        for name in ('missing', 'unexpected', 'mismatched'):
            keys = getattr(self, name)
            if keys:
                more = f', and {len(keys) - 8} more' if len(keys) > 8 else ''
                lines.append(f'{len(keys)} {name}: {", ".join(keys[:8])}{more}')
        return '\n  '.join(lines)

    def fits(self, need: str) -> bool:
        """Whether a model may start so; ``need`` as in :func:`check_checkpoint`."""
        mismatched = [name for name in self.mismatched if need in ('all', 'same') or not HEAD.search(name)]
        if not self.fitting or mismatched or any(map(LAYER.match, self.unexpected)):
            return False
        if need == 'most':
            return len(self.fitting) > len(self.missing)
        if need == 'encoder':
            return not any(name.startswith('backbone.') for name in self.missing)
        return not (self.missing or (need == 'same' and (self.unexpected or self.copied)))


def load_report(model_state: dict, checkpoint_state: dict) -> LoadReport:
    """Compare two state dicts.

    Missing adversarial adapters are no fault: they start from the clean ones. Nor is another number of positions:
    those are interpolated.
    """
    report = LoadReport(unexpected=[name for name in checkpoint_state if name not in model_state])
    for name, value in model_state.items():
        if name not in checkpoint_state:
            is_copy = name.endswith('_adv') and name.removesuffix('_adv') in checkpoint_state
            (report.copied if is_copy else report.missing).append(name)
        elif checkpoint_state[name].shape == value.shape or name.split('.')[-1] in RESIZED:
            report.fitting.append(name)
        else:
            shapes = f'{tuple(checkpoint_state[name].shape)} for {tuple(value.shape)}'
            report.mismatched.append(f'{name} {shapes}')
    return report


def check_checkpoint(model: torch.nn.Module, path: str, need: str = 'encoder', prefix: str = '') -> LoadReport:
    """Refuse a checkpoint of another architecture.

    Args:
        model: The model that is to load it.
        path: File or URL.
        need: What the checkpoint must have: the whole ``encoder``, to start from; ``all`` of the model, to test it;
            the ``same`` tensors and the state of its training, to resume; or ``most``, to initialise a part.
        prefix: Only tensors whose names begin so are loaded, without this prefix.

    Raises:
        UserError: With the report of what is missing, unexpected and of another shape.
    """
    checkpoint = read_checkpoint(path)
    if need == 'same' and not {'meta', 'message_hub'} <= checkpoint.keys():
        raise UserError(
            f'The checkpoint {path} holds weights, but not the state of a training to resume. To start from its '
            'weights, leave out --resume and use --cfg-options load_from=CHECKPOINT resume=False.'
        )
    # Where mmengine looks for them.
    state = checkpoint.get('state_dict', checkpoint)
    state = {name.removeprefix('module.'): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not state:
        kind = f'no tensor whose name begins with {prefix!r}' if prefix else 'no weights'
        raise UserError(
            f'The checkpoint {path} holds {kind}, only {", ".join(map(repr, list(checkpoint)[:8]))}. '
            'Expected a file by mmengine, or a dict of names and tensors.'
        )
    report = load_report(model.state_dict(), state)
    if not report.fits(need):
        raise UserError(
            f'The checkpoint {path} is of another architecture than the model of this config:\n  {report}\n'
            'Choose the checkpoint or the config (arch, img_size, patch_size, decoder) that belongs to the other.'
            f'{HINTS.get(need, "")}'
        )
    return report
