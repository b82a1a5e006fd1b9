"""Check that a checkpoint fits a model. mmengine only logs the tensors that did not load."""

import re
from dataclasses import dataclass, field

import torch

from ..errors import UserError, first_of
from .reading import read_checkpoint
from .tensors import refuse_faulty
from .weights import OURS, Weights, prefixes, several_encoders, weights_of

# Models resize these parameters when they load them. The last axis (width or heads) has to match.
RESIZED = ('pos_embed', 'relative_position_bias_table', 'rel_pos_h', 'rel_pos_w')
# Models compute these buffers and ignore those of another size.
COMPUTED = ('relative_position_index',)
# A detector adds these parameters to a plain encoder. They start at zero.
NEW = ('rel_pos_h', 'rel_pos_w')
# Parameters of a head, which differ between tasks, for instance in the number of classes.
HEAD = re.compile(r'(^|\.|_)head\.')
# Parameters of the encoder's layers. If the model lacks some, the encoder of the checkpoint is deeper.
LAYER = re.compile(r'(^|^backbone\.)(layers|stages|blocks)\.\d+\.')
# Names of layers in timm, facebookresearch/mae and Hugging Face.
FOREIGN = re.compile(r'(?<![^.])(?<!\d\.)(blocks\.\d+\.norm1|encoder\.layer\.\d+\.layernorm_before)\.')
HINTS = {
    'same': ' To start from its weights rather than resume, leave out --resume and use '
    '--cfg-options load_from=CHECKPOINT resume=False.',
    'most': " To load one part of it, init_cfg takes a prefix, such as 'backbone.'.",
}


@dataclass
class LoadReport:
    """Names of the tensors of a checkpoint and a model, by how they compare.

    Attributes:
        fitting: Both have the tensor, of the same shape.
        interpolated: Positions for another number of patches; each entry has both shapes.
        copied: Adapters that the checkpoint lacks. Both domains then start as the clean model.
        left_out: Adversarial adapters that the model, a clean one, lacks.
        new: Relative positions that the checkpoint lacks. They start at zero.
        missing: Other tensors that the checkpoint lacks.
        unused: Other tensors that the model lacks.
        mismatched: Tensors of different shapes; each entry has both shapes.
    """

    fitting: list[str] = field(default_factory=list)
    interpolated: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    def __str__(self) -> str:
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
                lines.append(f'{len(names)} {what}: {first_of(names, 8)}')
        return '\n  '.join(lines)

    def fits(self, need: str) -> bool:
        """Return whether the model may load the checkpoint; ``need`` as in :func:`check_checkpoint`."""
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
    """Compare the state dicts of a model and of a checkpoint."""
    report = LoadReport()
    for name in checkpoint_state:
        if name not in model_state:
            (report.left_out if name.endswith('_adv') else report.unused).append(name)
    for name, value in model_state.items():
        last = name.split('.')[-1]
        if name not in checkpoint_state:
            stock = name.removesuffix('_adv').removesuffix('_clean')
            if stock != name and (stock in checkpoint_state or stock not in model_state):
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


def check_checkpoint(
    model: torch.nn.Module, path: str, need: str = 'encoder', prefix: str = '', *, trusted: bool = False
) -> LoadReport:
    """Check that a checkpoint has the architecture of a model.

    Args:
        model: The model that will load the checkpoint.
        path: File or URL.
        need: What the checkpoint has to contain. ``'encoder'``: the whole encoder, to start a training; ``'all'``: all
            of the model, to test it; ``'same'``: exactly the tensors of the model and the state of a training, to
            resume; ``'most'``: more than half of the model, to initialize a part.
        prefix: Load only tensors whose names begin with this prefix, and remove it from the names.
        trusted: As in ``read_checkpoint``.

    Returns:
        How the tensors compare.

    Raises:
        UserError: The checkpoint does not fit. The message lists the tensors that are missing, unused or of another
            shape.
    """
    checkpoint = read_checkpoint(path, trusted=trusted)
    if need == 'same' and not {'meta', 'message_hub'} <= checkpoint.keys():
        raise UserError(
            f'The checkpoint {path} holds weights, but not the state of a training to resume. To start from its '
            'weights, leave out --resume and use --cfg-options load_from=CHECKPOINT resume=False.'
        )
    weights = weights_of(checkpoint, path)
    tensors = weights.tensors
    state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    own = model.state_dict()
    report = load_report(own, state)
    if not report.fits(need):
        raise _refusal(path, prefix, need, weights, report, own)
    refuse_faulty({name: value for name, value in state.items() if name in own}, path, model)
    weights.log(path)
    if report.left_out:
        model.register_load_state_dict_post_hook(_forget_adapters)
    return report


def _refusal(path: str, prefix: str, need: str, weights: Weights, report: LoadReport, own: dict) -> UserError:
    """Return the error for a checkpoint that does not fit, with the reason that helps most."""
    names = weights.tensors
    encoders = prefixes(names, OURS)
    if len(encoders) > 1:
        return several_encoders(path, encoders)
    if any(map(FOREIGN.search, names)) and not any(map(FOREIGN.search, own)):
        return UserError(
            f'The checkpoint {path} has the names of another library, such as {first_of(names, 2)}. Convert it with '
            f'tools/export.py {path} --to aemim, and take the result.'
        )
    if not any(name.startswith(prefix) for name in names):
        return UserError(
            f'The checkpoint {path} holds no tensor whose name begins with {prefix!r}, only '
            f'{first_of(map(repr, names), 8)}. {". ".join([*weights.notes, "Expected a file by mmengine"])}.'
        )
    adapters = [name for name in report.unused if name.endswith('_clean')]
    if adapters:
        return UserError(
            f'The checkpoint {path} has adapters of the clean domain, such as {first_of(adapters, 2)}, which the model '
            'of this config lacks. Merge LoRA by tools/export.py CHECKPOINT --to aemim, and take the result, or give '
            'the model the same adapters.'
        )
    return UserError(
        f'The checkpoint {path} is of another architecture than the model of this config:\n  {report}\n'
        'Choose a checkpoint and a config (arch, img_size, patch_size, decoder) that belong together.'
        f'{HINTS.get(need, "")}'
    )


def _forget_adapters(_module, keys):
    """Remove adversarial adapters from mmengine's warning: a clean model is expected to lack them."""
    keys.unexpected_keys[:] = [name for name in keys.unexpected_keys if not name.endswith('_adv')]
