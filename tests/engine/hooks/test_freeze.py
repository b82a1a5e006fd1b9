"""FreezeHook keeps layers as they are for the first epochs, whatever the optimizer does."""

import itertools

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from aemim_mm.errors import UserError

_numbers = itertools.count()


class TwoLayers(BaseModel):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.second(self.first(inputs)).square().sum())


class Weights(Hook):
    """Note the weights before training and after each epoch."""

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        self.seen.append({name: value.clone() for name, value in runner.model.state_dict().items()})

    def after_train_epoch(self, runner):
        self.before_train(runner)


def train(work_dir, **settings):
    """Train for three epochs; return the weights before training and after each epoch."""
    weights = Weights()
    Runner(
        TwoLayers(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=torch.utils.data.TensorDataset(torch.ones(8, 2)),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=lambda items: dict(inputs=torch.stack([item for (item,) in items])),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5), clip_grad=dict(max_norm=1.0), accumulative_counts=2
        ),
        custom_hooks=[dict(type='FreezeHook', **settings), weights],
        experiment_name=f'freeze{next(_numbers)}',
    ).train()
    return weights.seen


@pytest.mark.parametrize(('epochs', 'compiled'), [(0, False), (2, False), (2, True)])
def test_the_layer_begins_to_move_after_its_epochs(tmp_path, epochs, compiled):
    if compiled:
        # From here on, torch 2.1 calls no hook of an optimizer's step.
        torch.compile(torch.sin, backend='eager')(torch.ones(2))
    seen = train(tmp_path, names=['second.'], epochs=epochs)
    for name in seen[0]:
        still = [torch.equal(before[name], after[name]) for before, after in zip(seen, seen[1:])]
        assert still == [name.startswith('second.') and epoch < epochs for epoch in range(3)], name


def test_a_layer_that_the_model_lacks_is_an_error(tmp_path):
    with pytest.raises(UserError, match='no parameter of TwoLayers begins with third. Change names'):
        train(tmp_path, names=['first.', 'third'])
