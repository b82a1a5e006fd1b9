"""``torch.compile``, which has to notice what an attack changes in the model."""

import torch
from torch import nn
from torch._dynamo import config

from ..errors import UserError

# By default, compiled code does not look at the flags of a parameter that is the same object as before. It would run
# what was compiled while the attack had switched ``requires_grad`` off, and the weights would get wrong gradients.
FLAG = 'skip_tensor_guards_with_matching_dict_tags'
CAN_COMPILE = hasattr(config, FLAG)
if CAN_COMPILE:
    setattr(config, FLAG, False)


def check_compiled(model: nn.Module, asked: object = False) -> None:
    """Refuse compiled code where torch lacks the setting above. Without it, gradients and domains would be wrong.

    Args:
        model: A model that is attacked in training.
        asked: Whether the config asks for compilation.

    Raises:
        UserError: The model, or a module in it, is compiled, and this torch is too old for it.
    """
    if CAN_COMPILE:
        return
    compiled = any(hasattr(value, '_torchdynamo_orig_callable') for part in model.modules() for value in vars(part).values())
    if asked or compiled:
        raise UserError(
            f'torch.compile gives wrong gradients in adversarial training with torch {torch.__version__}. Leave out '
            'compile in the config and torch.compile in your code, or install torch 2.9.'
        )
