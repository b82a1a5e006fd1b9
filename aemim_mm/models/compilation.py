"""``torch.compile``, which has to notice what an attack changes in the model."""

import torch
from torch import nn
from torch._dynamo import config

from ..errors import UserError

# By default, compiled code does not look at the flags of a parameter that is the same object as before. After an
# attack, it would run what was compiled while ``requires_grad`` was off, and the weights would get wrong gradients.
SKIPS_GUARDS = 'skip_tensor_guards_with_matching_dict_tags'
CAN_COMPILE = hasattr(config, SKIPS_GUARDS)
if CAN_COMPILE:
    setattr(config, SKIPS_GUARDS, False)


def check_compiled(model: nn.Module, asked: object = False) -> None:
    """Refuse ``torch.compile`` where torch lacks the setting above: gradients and domains would be wrong.

    Args:
        model: The model, which may contain compiled modules.
        asked: Whether the config asks for compilation.

    Raises:
        UserError: The model is attacked in training, it is compiled, and this torch cannot do it.
    """
    parts = [] if CAN_COMPILE else list(model.modules())
    compiled = asked or any(
        hasattr(value, '_torchdynamo_orig_callable') for one in parts for value in vars(one).values()
    )
    if compiled and any(hasattr(one, 'perturb') for one in parts):
        raise UserError(
            f'torch.compile gives wrong gradients in adversarial training with torch {torch.__version__}. Remove '
            'compile from the config, and torch.compile from your code, or install torch 2.9.'
        )
