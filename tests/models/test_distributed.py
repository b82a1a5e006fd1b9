"""Two processes over gloo compute what one process computes with both batches."""

import pytest
import torch
from helpers import processes
from helpers import tiny as tiny_models
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS

import aemim_mm  # noqa: F401  registers the models, in a spawned process too
from aemim_mm.models import AEMIMViT

STEPS, BATCH = 3, 4


@MODELS.register_module(force=True)
class ViTMaskedByContent(AEMIMViT):
    """Derive the mask of an image from its mean brightness, so that every process draws the same one."""

    def forward(self, x, mask=True):
        self.brightness = (x.mean(dim=(1, 2, 3)) * 60 + 120).div(20).round()
        return super().forward(x, mask)

    def random_ids(self, batch, length, device):
        noise = torch.stack(
            [torch.rand(length, generator=torch.Generator().manual_seed(int(seed))) for seed in self.brightness]
        )
        ids_shuffle, visible = noise.argsort(dim=1), int(length * (1 - self.mask_ratio))
        ids_restore = ids_shuffle.argsort(dim=1)
        return ids_shuffle[:, :visible], ids_restore, (ids_restore >= visible).float()


def build():
    """Start the attack at zero, so that no random number is drawn; this needs unequal domains."""
    added = [dict(type=kind) for kind in ('lora', 'bottleneck', 'parallel_mlp', 'prompt')]
    config = tiny_models.aemim_of_size(
        32,
        8,
        backbone=dict(type='ViTMaskedByContent', adapters=['norm', 'cls_token', 'pos_embed', 'patch_embed', *added]),
        decoder_adapters=added,
        data_preprocessor=dict(start='zero'),
    )
    model = tiny_models.build(config)
    tiny_models.part_domains(model)
    return model


def batches():
    """Make images whose brightness differs by 20 pixels, more than the attack can change."""
    images = tiny_models.pixels(STEPS * BATCH) / 16
    images = images - images.mean(dim=(1, 2, 3), keepdim=True) + 20 * torch.arange(1, 13).view(-1, 1, 1, 1)
    return images.clamp(0, 255).chunk(STEPS)


def train(model, parts):
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    logs = [model.train_step(dict(inputs=part, data_samples=None), optimizer) for part in parts]
    return [{name: value.item() for name, value in log.items()} for log in logs]


def worker(rank, folder):
    """Train on one half of every batch; write logs and weights."""
    model = build()
    logs = train(MMDistributedDataParallel(module=model), [part.chunk(2)[rank] for part in batches()])
    torch.save(dict(logs=logs, weights=model.state_dict()), f'{folder}/{rank}.pth')


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_batch(tmp_path):
    start = build().state_dict()
    processes.on_ranks(worker, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2))
    model = build()
    logs = train(model, batches())
    for step in range(STEPS):
        for name in ('loss_clean', 'loss_adv', 'attack_end'):
            mean = (first['logs'][step][name] + second['logs'][step][name]) / 2
            assert mean == pytest.approx(logs[step][name], abs=1e-5, rel=1e-4 if name == 'attack_end' else 0)
        assert first['logs'][step]['loss_clean'] != second['logs'][step]['loss_clean']
    for name, value in model.state_dict().items():
        torch.testing.assert_close(first['weights'][name], value, atol=1e-5, rtol=0, msg=name)
        assert torch.equal(first['weights'][name], second['weights'][name]), name
    assert (model.backbone.cls_token_adv - start['backbone.cls_token_adv']).abs().max() > 1e-4
