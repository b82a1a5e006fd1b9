"""Draw how far an encoder's features move around images: along the attack's direction, and along a random one.

Run:       python tools/visualization/landscape.py work_dirs/aemim_vit-b_folder/epoch_300.pth DIR --eps 8
Duration:  a minute an image for a ViT-B/16 on a CPU

A unit of the first axis is the perturbation that PGD finds within eps; of the second axis, eps with a random sign in
each pixel. Pixels may leave 0 to 255. The colour is the distance of the features of all patches from those of the
image, as a share of their length. A flat picture is a robust encoder; a slope along the first axis only is what an
attack finds and noise does not.
"""

from pathlib import Path

from encoder_arguments import encoder_arguments, encoder_of, some_images

REACH = 2.0  # of both axes


def main():
    parser = encoder_arguments("Draw how far an encoder's features move around images.", 'landscape.png')
    parser.add_argument('--number', type=int, default=3, metavar='N', help='of images (default: 3)')
    parser.add_argument('--eps', type=float, default=8, help='L-inf budget in pixels, 0-255 (default: 8)')
    parser.add_argument('--steps', type=int, default=20, help='of the attack (default: 20)')
    parser.add_argument('--points', type=int, default=17, help='of each axis (default: 17)')
    args = parser.parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        draw(args)


def draw(args):
    import numpy as np
    import torch
    from PIL import Image

    from aemim_mm.attacks import PixelSpace, check_whole
    from aemim_mm.robustness.encoder_attacks import feature_attack
    from aemim_mm.robustness.whitebox import feature_pgd
    from aemim_mm.visualization.landscape import draw_landscapes, landscape

    check_whole('--points', args.points, 2)
    check_whole('--number', args.number, 1)
    attack = feature_pgd(args.eps, steps=args.steps)
    encoder = encoder_of(args, 'featmap')
    paths, images = some_images(encoder, args.folder, args.number)
    space = PixelSpace.of(encoder.data_preprocessor)
    found = feature_attack(encoder, images, attack, features=encoder, seed=args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    signs = torch.randn(images.shape, generator=generator).sign().to(images)
    steps, surfaces = np.linspace(-REACH, REACH, args.points).tolist(), []
    for image, adversarial, sign in zip(space.denormalize(images), found.x_adv, signs):
        with torch.no_grad():
            clean = encoder(space.normalize(image[None]))

        def moved(pixels, clean=clean):
            return (encoder(space.normalize(pixels)) - clean).flatten(1).norm(dim=1) / clean.norm()

        surfaces.append(landscape(moved, image, (adversarial - image, args.eps * sign), steps))
    titles = [Path(path).name for path in paths]
    axes, unit = ('the perturbation of the attack', f'random signs x {args.eps:g}'), 'features moved, of their length'
    Image.fromarray(draw_landscapes(surfaces, steps, titles, axes, unit)).save(args.picture, optimize=True)
    for path, moved in zip(paths, found.moved):
        print(f'{path}: features move by {moved:.1%} of their length, at eps {args.eps:g}')
    print(f'Written to {args.picture}.')


if __name__ == '__main__':
    main()
