"""Two processes over gloo train an algorithm with a teacher as one process with both batches."""

import pytest
import torch
from helpers import processes, tiny
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

STEPS = 3


def ibot(number):
    return tiny.ibot_batch(seed=number)


def hpm(number):
    return dict(inputs=tiny.pixels(seed=number), data_samples=None)


# The teacher of HPM chooses all hidden patches here, so that masks do not depend on random numbers.
METHODS = {
    'iBOT': (tiny.build_ibot, dict(momentum=0.5), ibot, ['centers', 'teacher.backbone.cls_token']),
    'HPM': (lambda **changes: tiny.build(tiny.hpm(**changes)), dict(momentum=0.5, hard_share=1.0), hpm,
            ['teacher.backbone.cls_token', 'teacher.neck.decoder_embed.weight']),
}  # fmt: skip


def half(batch, rank):
    """Take the first or the second half of a batch."""
    inputs, samples = batch['inputs'], batch['data_samples']
    views = [view.chunk(2)[rank] for view in inputs] if isinstance(inputs, list) else inputs.chunk(2)[rank]
    return dict(inputs=views, data_samples=samples and samples[2 * rank : 2 * rank + 2])


def train(model, batches):
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    logs = [model.train_step(batch, optim) for batch in batches]
    return [{name: value.item() for name, value in log.items()} for log in logs]


def worker(rank, folder):
    """Train on one half of every batch; write logs and weights."""
    for method, (build, changes, batch, _) in METHODS.items():
        model = build(**changes)
        logs = train(MMDistributedDataParallel(module=model), [half(batch(number), rank) for number in range(STEPS)])
        torch.save(dict(logs=logs, weights=model.state_dict()), f'{folder}/{method}-{rank}.pth')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    processes.on_ranks(worker, str(folder))
    return folder


@pytest.mark.parametrize('method', METHODS)
def test_two_processes_equal_one_with_the_same_batch(method, folder):
    first, second = (torch.load(folder / f'{method}-{rank}.pth', weights_only=True) for rank in range(2))
    build, changes, batch, moved = METHODS[method]
    model = build(**changes)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    logs = train(model, [batch(number) for number in range(STEPS)])
    for step, log in enumerate(logs):
        for name, value in log.items():
            assert (first['logs'][step][name] + second['logs'][step][name]) / 2 == pytest.approx(value, abs=1e-5)
            assert first['logs'][step][name] != second['logs'][step][name]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(first['weights'][name], value, atol=1e-5, rtol=0, msg=name)
        assert torch.equal(first['weights'][name], second['weights'][name]), name
    for name in moved:
        assert (model.state_dict()[name] - start[name]).abs().max() > 1e-4
