"""Draw what an encoder sees in images and in their adversarial examples: attention, features, and where they change.

Run:       python tools/visualization/adversarial_views.py work_dirs/aemim_vit-b_folder/epoch_300.pth DIR --eps 8
Duration:  a few seconds an image for a ViT-B/16 on a CPU

The attack is PGD on the distance between the features of all patches, without labels. Features are drawn by their first
three principal components, with the same colours for both images. The last column is how far each patch's features
move, as a share of the mean length of features; the scale ends at the largest share.
"""

import argparse

import numpy as np
from encoder_arguments import encoder_arguments, encoder_of, some_images


def parse_args() -> argparse.Namespace:
    parser = encoder_arguments('Draw what an encoder sees in images and their adversarial examples.', 'views.png')
    parser.add_argument('--rows', type=int, default=4, metavar='N', help='number of images (default: 4)')
    parser.add_argument('--eps', type=float, default=8, help='L-inf budget in pixels, 0-255 (default: 8)')
    parser.add_argument('--steps', type=int, default=20, help='of the attack (default: 20)')
    return parser.parse_args()


def main():
    args = parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        draw(args)


def draw(args):
    import torch
    from PIL import Image

    from aemim_mm.attacks import PixelSpace, check_whole
    from aemim_mm.robustness.encoder_attacks import feature_attack
    from aemim_mm.robustness.whitebox import feature_pgd
    from aemim_mm.visualization.feature_maps import attention_maps, heat, principal_colours
    from aemim_mm.visualization.panels import amplification, draw_panels

    check_whole('--rows', args.rows, 1)
    attack = feature_pgd(args.eps, steps=args.steps)
    encoder = encoder_of(args, 'featmap')
    paths, images = some_images(encoder, args.folder, args.rows)
    space = PixelSpace.of(encoder.data_preprocessor)
    found = feature_attack(encoder, images, attack, features=encoder, seed=args.seed)
    pixels = space.denormalize(images)
    with torch.no_grad():
        clean, moved = encoder(images), encoder(space.normalize(found.x_adv))
    change = (moved - clean).norm(dim=1) / clean.norm(dim=1).mean()
    factor = amplification(args.eps)
    delta = 127.5 + factor * (found.x_adv - pixels)
    colours, its_colours = principal_colours(clean, moved)
    columns = {'image': _uint8(encoder, pixels), 'features': colours}
    attacked = {
        'adversarial': _uint8(encoder, found.x_adv),
        f'perturbation x{factor}': _uint8(encoder, delta),
        'its features': its_colours,
    }
    if encoder.spec.kind == 'vit':
        both = images, space.normalize(found.x_adv)
        attention, its_attention = (attention_maps(encoder.backbone, each) for each in both)
        top = attention.max().item()
        columns['attention'], attacked['its attention'] = heat(attention, top), heat(its_attention, top)
    columns |= {**attacked, 'change': heat(change, max(change.max().item(), 1e-12))}
    rows = [[_enlarged(picture, images.shape[-2:]) for picture in row] for row in zip(*columns.values())]
    Image.fromarray(draw_panels(rows, list(columns))).save(args.picture, optimize=True)
    for path, share in zip(paths, change):
        print(f'{path}: features move by {share.mean():.1%} of their length, in one patch by {share.max():.1%}')
    print(f'Written to {args.picture}.')


def _uint8(encoder, pixels):
    """Return pixels (B, C, H, W) as pictures (B, H, W, C), RGB or grey."""
    pictures = pixels.round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
    return pictures if encoder.spec.to_rgb else pictures[..., ::-1]


def _enlarged(picture, size):
    """Repeat the pixels of a map, up to the size of the image."""
    rows, columns = (np.arange(whole) * part // whole for whole, part in zip(size, picture.shape))
    return picture[rows][:, columns]


if __name__ == '__main__':
    main()
