"""Does this checkpoint fit this model? Asked before training, since mmengine only logs what did not load."""

import re
from dataclasses import dataclass, field

import torch

from ..errors import UserError
from .reading import read_checkpoint

# Models bring these to the size they need when they load them; the last axis (width, heads) has to be theirs.
RESIZED = ('pos_embed', 'relative_position_bias_table', 'rel_pos_h', 'rel_pos_w')
# Models compute it, and load none of another size.
COMPUTED = ('relative_position_index',)
# A detector adds these to a plain encoder; they start at zero.
NEW = ('rel_pos_h', 'rel_pos_w')
# Of a task that may differ from the checkpoint's, as with another number of classes.
HEAD = re.compile(r'(^|\.|_)head\.')
# If the checkpoint has more of these, its encoder is deeper than the model's.
LAYER = re.compile(r'(^|^backbone\.)(layers|stages|blocks)\.\d+\.')
HINTS = {
    'same': ' To start from its weights rather than resume, leave out --resume and use '
    '--cfg-options load_from=CHECKPOINT resume=False.',
    'most': " To load one part of it, init_cfg takes a prefix, such as 'backbone.'.",
}


@dataclass
class LoadReport:
    """How the tensors of a checkpoint compare with those of a model, by name."""

    fitting: list = field(default_factory=list)
    # Positions for another number of patches, with both shapes.
    interpolated: list = field(default_factory=list)
    # Adversarial adapters that the checkpoint lacks: they start from the clean ones.
    copied: list = field(default_factory=list)
    # Adversarial adapters that the model has no place for: a clean model.
    left_out: list = field(default_factory=list)
    # Relative positions that the checkpoint lacks: they start at zero.
    new: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    unused: list = field(default_factory=list)
    # With both shapes.
    mismatched: list = field(default_factory=list)

    def __str__(self):
        lines = [f'{len(self.fitting)} tensors fit']
        counts = {
            'adversarial adapters start from the clean ones': self.copied,
            'adversarial adapters left out': self.left_out,
            'relative positions start at zero': self.new,
        }
        lines += [f'{len(names)} {what}' for what, names in counts.items() if names]
        for what in ('interpolated', 'missing', 'unused', 'mismatched'):
            names = getattr(self, what)
            if names:
                more = f', and {len(names) - 8} more' if len(names) > 8 else ''
                lines.append(f'{len(names)} {what}: {", ".join(names[:8])}{more}')
        return '\n  '.join(lines)

    def fits(self, need: str) -> bool:
        """Whether a model may start so; ``need`` as in :func:`check_checkpoint`."""
        mismatched = [name for name in self.mismatched if need in ('all', 'same') or not HEAD.search(name)]
        if not self.fitting or mismatched or any(map(LAYER.match, self.unused)):
            return False
        if need == 'most':
            return len(self.fitting) > len(self.missing)
        if need == 'encoder':
            return not any(name.startswith('backbone.') for name in self.missing)
        if need == 'same' and self.unused + self.copied + self.left_out + self.interpolated:
            return False
        return not self.missing + self.new


def load_report(model_state: dict, checkpoint_state: dict) -> LoadReport:
    """Compare two state dicts."""
    report = LoadReport()
    for name in checkpoint_state:
        if name not in model_state:
            (report.left_out if name.endswith('_adv') else report.unused).append(name)
    for name, value in model_state.items():
        last = name.split('.')[-1]
        if name not in checkpoint_state:
            if name.endswith('_adv') and name.removesuffix('_adv') in checkpoint_state:
                report.copied.append(name)
            else:
                (report.new if last in NEW else report.missing).append(name)
            continue
        got, needed = tuple(checkpoint_state[name].shape), tuple(value.shape)
        if got == needed or last in COMPUTED:
            report.fitting.append(name)
        elif last in RESIZED and got[-1:] == needed[-1:]:
            report.interpolated.append(f'{name} {got} to {needed}')
        else:
            report.mismatched.append(f'{name} {got} for {needed}')
    return report


def weights_of(checkpoint: dict, prefix: str = '') -> dict:
    """Names and tensors of a checkpoint, where mmengine looks for them; ``prefix`` as in :func:`check_checkpoint`."""
    state = checkpoint.get('state_dict', checkpoint)
    state = state.items() if isinstance(state, dict) else ()
    state = {str(name).removeprefix('module.'): value for name, value in state if isinstance(value, torch.Tensor)}
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def check_checkpoint(
    model: torch.nn.Module, path: str, need: str = 'encoder', prefix: str = '', *, trusted=False
) -> LoadReport:
    """Refuse a checkpoint of another architecture.

    Args:
        model: The model that is to load it.
        path: File or URL.
        need: What the checkpoint must have: the whole ``encoder``, to start from; ``all`` of the model, to test it;
            the ``same`` tensors and the state of its training, to resume; or ``most``, to initialise a part.
        prefix: Only tensors whose names begin so are loaded, without this prefix.
        trusted: As in :func:`read_checkpoint`.

    Raises:
        UserError: With the report of what is missing, unused and of another shape.
    """
    checkpoint = read_checkpoint(path, trusted=trusted)
    if need == 'same' and not {'meta', 'message_hub'} <= checkpoint.keys():
        raise UserError(
            f'The checkpoint {path} holds weights, but not the state of a training to resume. To start from its '
            'weights, leave out --resume and use --cfg-options load_from=CHECKPOINT resume=False.'
        )
    state = weights_of(checkpoint, prefix)
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
    if report.left_out:
        model.register_load_state_dict_post_hook(_forget_adapters)
    return report


def _forget_adapters(_module, keys):
    """Adversarial adapters that a clean model has no place for are expected: mmengine shall not warn of them."""
    keys.unexpected_keys[:] = [name for name in keys.unexpected_keys if not name.endswith('_adv')]
