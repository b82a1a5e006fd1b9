"""AEMIM on MAE in one file of torch, torchvision and timm: the model, the attack, the loss, the training.

Run:       python examples/aemim_in_one_file.py FOLDER --arch tiny --image-size 96 --patch-size 8 --epochs 20
Needs:     FOLDER, a folder of images, nested or flat; no labels
Source:    AEMIM, arXiv 2407.11537; MAE, arXiv 2111.06377

Shapes: B images of L patches with p x p pixels; C channels of a token. Pixels are from 0 to 1.
"""

import argparse
import math
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from timm.layers import PatchEmbed, build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

# Width, depth and heads, of the encoder and of the decoder.
ARCHS = {
    'tiny': ((192, 12, 3), (128, 2, 4)),
    'small': ((384, 12, 6), (256, 4, 8)),
    'base': ((768, 12, 12), (512, 8, 16)),
}
SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')
FORMATS = ('BMP', 'JPEG', 'PNG', 'WEBP')


# ------------------------------------------------------------------------------------------------- the model
class Split(nn.Module):
    """An adapter: a layer with one set of weights for each domain. Both sets start equal."""

    domain = 'clean'

    def __init__(self, layer):
        super().__init__()
        self.clean, self.adv = layer, deepcopy(layer)

    def forward(self, x):
        return self.clean(x) if self.domain == 'clean' else self.adv(x)


def init(layer):
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


norm = partial(nn.LayerNorm, eps=1e-6)


def split_norm(width, **factory):
    return Split(norm(width, **factory))


class AdversarialMAE(nn.Module):
    """MAE with adapters: the encoder's norms and class token, and the prediction layer. All else is shared."""

    domain = 'clean'

    def __init__(self, image_size, patch_size, encoder, decoder, mlp_ratio=4.0, mask_ratio=0.75):
        super().__init__()
        width, depth, heads = encoder
        self.normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.patch_embed = PatchEmbed(image_size, patch_size, 3, width)
        self.visible = int(self.patch_embed.num_patches * (1 - mask_ratio))
        positions = partial(build_sincos2d_pos_embed, self.patch_embed.grid_size, interleave_sin_cos=True)

        self.cls_token = nn.ParameterDict({'clean': torch.randn(1, 1, width) * 0.02})
        self.register_buffer('positions', positions(width))  # fixed, (L, C)
        blocks = (Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=split_norm) for _ in range(depth))
        self.encoder = nn.Sequential(*blocks, split_norm(width))

        width, depth, heads = decoder
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.register_buffer('decoder_positions', positions(width))
        self.decoder_embed = nn.Linear(self.positions.shape[1], width)
        blocks = (Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        self.decoder = nn.Sequential(*blocks, norm(width))
        self.predict = nn.Linear(width, 3 * patch_size**2)

        self.apply(init)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1))
        self.cls_token['adv'] = self.cls_token['clean'].detach().clone()
        self.predict = Split(self.predict)

    def use(self, domain):
        """Switch to the adapters of ``clean`` or ``adv``."""
        self.domain = domain
        for layer in self.modules():
            if isinstance(layer, Split):
                layer.domain = domain

    def encode(self, images, order):
        """Features of class token and visible patches, (B, 1 + L_visible, C). ``order`` (B, L) has those first."""
        tokens = self.patch_embed(self.normalize(images)) + self.positions
        cls_token = self.cls_token[self.domain].expand(len(images), -1, -1)
        return self.encoder(torch.cat((cls_token, take(tokens, order[:, : self.visible])), 1))

    def decode(self, features, order):
        """Predictions for all patches, (B, L, p * p * 3), from features of the visible ones."""
        tokens = self.decoder_embed(features)
        hidden = self.mask_token.expand(len(tokens), order.shape[1] - self.visible, -1)
        patches = take(torch.cat((tokens[:, 1:], hidden), 1), order.argsort(1)) + self.decoder_positions
        return self.predict(self.decoder(torch.cat((tokens[:, :1], patches), 1))[:, 1:])

    def reconstruction_loss(self, features, order, images):
        """Mean squared error on hidden patches, where each patch is normalised to mean 0 and variance 1."""
        target = self.normalize(images).unflatten(3, (self.patch_embed.grid_size[1], -1))
        target = target.unflatten(2, (self.patch_embed.grid_size[0], -1))  # (B, 3, rows, p, columns, p)
        target = target.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        error = (self.decode(features, order) - target).square()
        return take(error, order[:, self.visible :]).mean()


def take(tokens, ids):
    """Pick tokens (B, N, C) by their ids (B, M)."""
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


# ------------------------------------------------------------------------------------------------ the attack
def attack(model, images, order, features, eps=2 / 255, steps=2):
    """Images at most ``eps`` from ``images`` whose features, under the same mask, are far from ``features``.

    The reconstruction loss plays no part.
    """
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    # The start is random: while both sets of adapters are equal, the distance has no gradient at the image itself.
    x_adv = (images + eps * (torch.rand_like(images) * 2 - 1)).clamp(low, high)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        distance = (model.encode(x_adv, order) - features).square().sum()
        (gradient,) = torch.autograd.grad(distance, x_adv)  # Unlike backward(), it leaves the weights alone.
        x_adv = (x_adv.detach() + eps / steps * gradient.sign()).clamp(low, high)
    return x_adv.detach()


# -------------------------------------------------------------------------------------------------- the loss
def aemim_loss(model, images, weight=1.0):
    """The clean loss, the weighted adversarial loss, and the adversarial images, from images (B, 3, H, W)."""
    order = torch.rand(len(images), len(model.positions), device=images.device).argsort(1)  # the mask

    # 1. Clean adapters: reconstruct the images.
    model.use('clean')
    features = model.encode(images, order)
    loss_clean = model.reconstruction_loss(features, order, images)

    # 2. Adversarial adapters, same mask: move the features away from the clean ones.
    model.use('adv')
    x_adv = attack(model, images, order, features.detach())

    # 3. Adversarial adapters, same mask: reconstruct the adversarial images.
    loss_adv = model.reconstruction_loss(model.encode(x_adv, order), order, x_adv)
    model.use('clean')
    return loss_clean, weight * loss_adv, x_adv


# ---------------------------------------------------------------------------------------------- the training
class ImageFolder(Dataset):
    """All images below a folder, cropped and flipped at random."""

    def __init__(self, folder, image_size):
        files = (path for path in Path(folder).rglob('*') if path.suffix.lower() in SUFFIXES)
        self.paths = sorted(path for path in files if path.is_file())
        if not self.paths:
            sys.exit(f'error: {folder} holds no image. Expected a folder of files that end in {", ".join(SUFFIXES)}.')
        crop = transforms.RandomResizedCrop(image_size, (0.2, 1.0), interpolation=transforms.InterpolationMode.BICUBIC)
        self.transform = transforms.Compose((crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index], formats=FORMATS) as image:
            return self.transform(image.convert('RGB'))


def train(model, loader, epochs, lr, device):
    """Train by AdamW with warm-up and cosine decay, and return both mean losses of each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.05)
    total, history = epochs * len(loader), []
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(20 * (step + 1) / total, 1) * (1 + math.cos(math.pi * step / total)) / 2
    )
    for epoch in range(epochs):
        losses = []
        for images in loader:
            loss_clean, loss_adv, _ = aemim_loss(model, images.to(device))
            optimizer.zero_grad()
            (loss_clean + loss_adv).backward()
            optimizer.step()
            schedule.step()
            losses.append((loss_clean.item(), loss_adv.item()))
        history.append(torch.tensor(losses).mean(0).tolist())
        print('epoch {}/{}  loss_clean {:.4f}  loss_adv {:.4f}'.format(epoch + 1, epochs, *history[-1]), flush=True)
    return history


def main(argv=None):
    parser = argparse.ArgumentParser(description='Pre-train a ViT by AEMIM on a folder of images.')
    parser.add_argument('folder', help='images, nested or flat; no labels')
    parser.add_argument('--arch', choices=ARCHS, default='base')
    parser.add_argument('--image-size', type=int, default=224, help='pixels, a multiple of the patch size')
    parser.add_argument('--patch-size', type=int, default=16, help='pixels')
    parser.add_argument('--epochs', type=int, default=300)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--lr', type=float, default=3e-4)
    parser.add_argument('--out', default='aemim.pth', help='file for the weights (default: aemim.pth)')
    args = parser.parse_args(argv)
    if args.image_size % args.patch_size:
        sys.exit(f'error: image size {args.image_size} is no multiple of patch size {args.patch_size}. Change either.')

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    loader = DataLoader(ImageFolder(args.folder, args.image_size), args.batch_size, shuffle=True, num_workers=2)
    model = AdversarialMAE(args.image_size, args.patch_size, *ARCHS[args.arch]).to(device)
    history = train(model, loader, args.epochs, args.lr, device)
    torch.save(model.state_dict(), args.out)
    return history


if __name__ == '__main__':
    main()
