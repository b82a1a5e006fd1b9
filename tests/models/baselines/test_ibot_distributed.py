"""Two processes over gloo train iBOT as one process with both batches."""

import pytest
import torch
from helpers import processes, tiny
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

STEPS = 3


def halves(batch):
    """Split a batch into two batches."""
    views, samples = zip(*(view.chunk(2) for view in batch['inputs'])), batch['data_samples']
    return [dict(inputs=list(view), data_samples=part) for view, part in zip(views, (samples[:2], samples[2:]))]


def train(model, batches):
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    logs = [model.train_step(batch, optim) for batch in batches]
    return [{name: value.item() for name, value in log.items()} for log in logs]


def build():
    return tiny.build_ibot(momentum=0.5)


def worker(rank, folder):
    """Train on one half of every batch; write logs and weights."""
    model = build()
    logs = train(MMDistributedDataParallel(module=model), [halves(tiny.ibot_batch(seed=k))[rank] for k in range(STEPS)])
    torch.save(dict(logs=logs, weights=model.state_dict()), f'{folder}/{rank}.pth')


def test_two_processes_equal_one_with_the_same_batch(tmp_path):
    processes.on_ranks(worker, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2))
    model = build()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    logs = train(model, [tiny.ibot_batch(seed=k) for k in range(STEPS)])
    for step, log in enumerate(logs):
        for name, value in log.items():
            assert (first['logs'][step][name] + second['logs'][step][name]) / 2 == pytest.approx(value, abs=1e-5)
            assert first['logs'][step][name] != second['logs'][step][name]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(first['weights'][name], value, atol=1e-5, rtol=0, msg=name)
        assert torch.equal(first['weights'][name], second['weights'][name]), name
    for name in ('centers', 'teacher.backbone.cls_token'):
        assert (model.state_dict()[name] - start[name]).abs().max() > 1e-4
