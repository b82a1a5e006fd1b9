"""The pictures of both passes equal pictures made by hand."""

import pytest
import torch

from aemim_mm import Domain, use_domain
from aemim_mm.visualization.reconstruction import reconstruct


def masked_by_loop(image, mask, patch_size):
    image = image.clone()
    for index, row, column in mask.nonzero().tolist():
        height, width = patch_size
        image[index, :, row * height : (row + 1) * height, column * width : (column + 1) * width] = 127
    return image


def test_clean_and_adversarial_pictures_of_mae(tiny):
    model = tiny.build(tiny.aemim_of_size((32, 48), (8, 16)))
    tiny.part_domains(model)
    pixels = tiny.pixels(2, (32, 48))
    images = tiny.images(model, 2, (32, 48))
    torch.manual_seed(6)
    pictures = reconstruct(model, images)
    model.eval()
    for domain, original in ((Domain.CLEAN, pixels), (Domain.ADV, pictures[Domain.ADV].image)):
        torch.manual_seed(6)
        x = model.data_preprocessor.normalize(original)
        with torch.no_grad(), use_domain(model, domain):
            latent, mask, ids_restore = model.backbone(x)
            pred = model.neck(latent, ids_restore)
        patches, mask = model.head.patchify(x), mask.view(-1, 4, 3)
        pred = pred * (patches.var(-1, keepdim=True) + 1e-6).sqrt() + patches.mean(-1, keepdim=True)
        pred = model.data_preprocessor.denormalize(model.head.unpatchify(pred, (32, 48))).clamp(0, 255)
        masked = masked_by_loop(original, mask, (8, 16))
        hidden = mask.repeat_interleave(8, 1).repeat_interleave(16, 2)[:, None].bool()
        got = pictures[domain]
        torch.testing.assert_close(got.image, original, atol=1e-3, rtol=0)
        torch.testing.assert_close(got.masked, masked, atol=1e-3, rtol=0)
        torch.testing.assert_close(got.pred, torch.where(hidden, pred, original), atol=1e-2, rtol=0)
    assert 1 < (pictures[Domain.ADV].image - pixels).abs().max() <= 2 + 1e-3


@pytest.mark.parametrize(('make', 'grid', 'side'), [('aesimmim', (8, 8), 4), ('aesimmim_vit', (4, 4), 8)])
def test_pictures_of_simmim(tiny, make, grid, side):
    model, samples = tiny.build(getattr(tiny, make)()), tiny.mask_samples(grid=grid)
    pixels, images = tiny.pixels(), tiny.images(model)
    picture = reconstruct(model, images, samples)[Domain.CLEAN]
    masks = torch.stack([sample.mask for sample in samples])
    torch.testing.assert_close(picture.masked, masked_by_loop(pixels, masks, (side, side)), atol=1e-3, rtol=0)
    model.eval()
    with torch.no_grad():
        pred = model.data_preprocessor.denormalize(model.neck(model.backbone(images, masks)[0])).clamp(0, 255)
    hidden = (picture.masked == 127) & (pixels != 127)
    torch.testing.assert_close(picture.pred[hidden], pred[hidden], atol=1e-2, rtol=0)


def test_the_model_is_left_as_it_was(tiny):
    model = tiny.build(tiny.aemim())
    model.backbone.layers[0].eval()
    before = tiny.snapshot(model)
    reconstruct(model, tiny.images(model))
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
