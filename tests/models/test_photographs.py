"""The attack on colour photographs (scikit-image), after a short training on them."""

import numpy as np
import pytest
import skimage.data
import torch
from helpers import tiny

SIZE = 64


def crops(count, seed):
    """Cut random crops of photographs, (N, 3, 64, 64), float, 0-255."""
    random = np.random.RandomState(seed)
    photographs = [getattr(skimage.data, name)() for name in ('astronaut', 'chelsea', 'coffee', 'rocket')]
    taken = []
    for _ in range(count):
        photograph = photographs[random.randint(len(photographs))]
        top, left = (random.randint(length - SIZE) for length in photograph.shape[:2])
        taken.append(photograph[top : top + SIZE, left : left + SIZE])
    return torch.from_numpy(np.stack(taken)).permute(0, 3, 1, 2).float()


@pytest.fixture(scope='module')
def trained():
    arch = dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=128)
    config = tiny.aemim_of_size(SIZE, 8, backbone=dict(arch=arch), neck=dict(embed_dim=64))
    model = tiny.build(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    losses = []
    for images in model.data_preprocessor.normalize(crops(1280, seed=0)).split(32):
        loss, logged = model.parse_losses(model.loss(images, None))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(logged['loss_clean'].item())
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    return model.eval()


def test_the_attack_ends_much_further_away_than_uniform_noise(trained):
    images = trained.data_preprocessor.normalize(crops(64, seed=1))
    torch.manual_seed(1)
    attack = trained.two_passes(images, None).attack.log()
    # The attack starts at uniform noise of the same size, so its first value is the objective of noise.
    assert attack['attack_end'] > 1.5 * attack['attack_start']
