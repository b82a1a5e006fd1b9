"""Does this checkpoint fit this model? Asked before training, since mmengine only logs what did not load."""

from dataclasses import dataclass, field

import torch
from mmengine.runner.checkpoint import CheckpointLoader

from .errors import UserError


@dataclass
class LoadReport:
    """How the tensors of a checkpoint compare with those of a model, by name."""

    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    mismatched: list = field(default_factory=list)
    fitting: list = field(default_factory=list)

    def __str__(self):
        lines = [f'{len(self.fitting)} tensors fit']
        for name in ('missing', 'unexpected', 'mismatched'):
            keys = getattr(self, name)
            if keys:
                more = f', and {len(keys) - 8} more' if len(keys) > 8 else ''
                lines.append(f'{len(keys)} {name}: {", ".join(keys[:8])}{more}')
        return '\n  '.join(lines)


def load_report(model_state: dict, checkpoint_state: dict) -> LoadReport:
    """Compare two state dicts.

    Missing adversarial adapters are no fault: they start from the clean ones. Nor is another number of positions:
    those are interpolated.
    """
    report = LoadReport(unexpected=[name for name in checkpoint_state if name not in model_state])
    for name, value in model_state.items():
        if name not in checkpoint_state:
            if not name.endswith('_adv'):
                report.missing.append(name)
        elif checkpoint_state[name].shape == value.shape or name.endswith('backbone.pos_embed'):
            report.fitting.append(name)
        else:
            shapes = f'{tuple(checkpoint_state[name].shape)} for {tuple(value.shape)}'
            report.mismatched.append(f'{name} {shapes}')
    return report


def check_checkpoint(model: torch.nn.Module, path: str, whole: bool = False) -> LoadReport:
    """Refuse a checkpoint of another architecture.

    Args:
        model: The model that is to load it.
        path: File or URL.
        whole: Every tensor must be there, as for resuming; otherwise the encoder's are enough.

    Raises:
        UserError: With the report of what is missing, unexpected and of another shape.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except (FileNotFoundError, OSError) as error:
        raise UserError(f'The checkpoint {path} cannot be read: {error}') from error
    state = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))
    report = load_report(model.state_dict(), state)
    missing = report.missing if whole else [name for name in report.missing if name.startswith('backbone.')]
    if missing or report.mismatched or not report.fitting:
        raise UserError(
            f'The checkpoint {path} is of another architecture than the model of this config:\n  {report}\n'
            'Choose the checkpoint or the config (arch, img_size, patch_size, decoder) that belongs to the other.'
        )
    return report
