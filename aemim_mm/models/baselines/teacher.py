"""A teacher that is a moving average of the model which it teaches."""

from copy import deepcopy

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import nn

from ...adapters import is_pretrained


class Teacher(nn.Module):
    """Copies of parts of a model, which are never trained and always in eval mode.

    Args:
        **parts: Name of each part to the module that is copied.
    """

    def __init__(self, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, deepcopy(part))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay in eval mode."""
        return super().train(False)


class TaughtAlgorithm(BaseSelfSupervisor):
    """A self-supervised algorithm with a teacher, which follows it. The algorithm is the student.

    Its loss calls :meth:`momentum_update` in training mode, before it uses the teacher. The teacher moves only if the
    optimizer has changed the student since the last call. So with gradient accumulation, the teacher moves once for
    each step of the optimizer.

    Attributes:
        teacher: Parts with the names that they have in the algorithm.
        momentum: Share of the teacher that stays at this moment of training, in [0, 1].
        seen: The class token of the student that the teacher has last moved to.
    """

    teacher: Teacher
    momentum: float
    seen: torch.Tensor

    def add_teacher(self, teacher: Teacher) -> None:
        """Add the teacher, once the student is complete."""
        self.teacher = teacher
        self.register_buffer('seen', self.get_parameter('backbone.cls_token').detach().clone())

    def init_weights(self) -> None:
        """Initialise the student, and the teacher with the same weights."""
        super().init_weights()
        if not is_pretrained(self):
            own = self.state_dict()
            self.teacher.load_state_dict({name: own[name] for name in self.teacher.state_dict()})

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # A checkpoint of another method has no teacher: it starts as the student.
        for name in self.teacher.state_dict():
            if prefix + name in state_dict:
                state_dict.setdefault(f'{prefix}teacher.{name}', state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Move the teacher towards the student, parameter by parameter of equal name.

        Nothing moves if the student's class token has not changed since the last call, because then the optimizer has
        not made a step. The host does not wait for the comparison.
        """
        student = dict(self.named_parameters())
        token = student['backbone.cls_token']
        share = (1 - self.momentum) * (token != self.seen).any()
        for name, own in self.teacher.named_parameters():
            own.lerp_(student[name], share.to(own.dtype))
        self.seen.copy_(token)
