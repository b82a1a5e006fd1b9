"""On real photographs and a briefly trained encoder."""
from pathlib import Path

import numpy as np
import pytest
import torch

import aemim_mm

IMAGES = Path(aemim_mm.__file__).parent / 'data' / 'fashion_mnist' / 'train-images-idx3-ubyte'


def photographs(count):
    """(N, 1, 28, 28), 0-255, from the embedded part of Fashion-MNIST."""
    pixels = np.frombuffer(IMAGES.read_bytes()[16:16 + count * 784], dtype=np.uint8)
    return torch.from_numpy(pixels.copy()).float().view(count, 1, 28, 28)


@pytest.fixture(scope='module')
def trained():
    import tiny
    model = tiny.build(tiny.aemim_of_size(28, 7, 1, backbone=dict(mask_ratio=0.6)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    images = model.data_preprocessor.normalize(photographs(1280))
    torch.manual_seed(0)
    losses = []
    for batch in images.split(64) * 2:
        loss, logged = model.parse_losses(model.loss(batch, None))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(logged['loss_clean'].item())
    assert np.mean(losses[-20:]) < 0.95 * np.mean(losses[:5])
    return model.eval()


@pytest.mark.parametrize('noise', ['uniform', 'sign'])
def test_the_attack_is_much_stronger_than_random_noise_of_the_same_size(trained, noise):
    images = trained.data_preprocessor.normalize(photographs(1600)[1280:])
    draw = dict(uniform=lambda x: torch.rand_like(x) * 2 - 1, sign=lambda x: torch.randn_like(x).sign())[noise]
    torch.manual_seed(1)
    attacked = trained.two_passes(images, None).attack['attack_end']
    preprocessor, radius = trained.data_preprocessor, trained.data_preprocessor.eps / trained.data_preprocessor.std
    perturb = preprocessor.perturb
    preprocessor.perturb = lambda inputs, *_, **__: (inputs + draw(inputs) * radius).clamp(
        preprocessor.normalize(torch.tensor(0.)), preprocessor.normalize(torch.tensor(255.)))
    try:
        torch.manual_seed(1)
        random = trained.two_passes(images, None).attack['attack_end']
    finally:
        preprocessor.perturb = perturb
    assert attacked > 1.5 * random
