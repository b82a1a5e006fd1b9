"""Write the features of all images in a folder as one .npz file.

Run:       python tools/embed.py work_dirs/aemim_vit-b_folder/epoch_300.pth DIR --out features.npz
Duration:  one forward pass for each image, on a GPU if there is one

The checkpoint is of any layout in docs/export.md. The file has `paths` (N), relative to the folder, and `features`
(N, D), for numpy.load. A file that cannot be read is named, and left out.
"""

import argparse
from pathlib import Path

OUT_TYPES = ('cls_token', 'avg_featmap', 'featmap', 'raw')


def main():
    parser = argparse.ArgumentParser(description='Write the features of all images in a folder as one .npz file.')
    parser.add_argument('checkpoint', help='file, or folder with config.json, of any layout in docs/export.md')
    parser.add_argument('folder', help='folder of images, nested or flat')
    parser.add_argument('--out', type=Path, default=Path('features.npz'), help='(default: features.npz)')
    parser.add_argument('--out-type', choices=OUT_TYPES, help='kind of features, as of load_encoder')
    parser.add_argument('--domain', choices=['clean', 'adv'], default='clean', help='(default: clean)')
    parser.add_argument('--img-size', type=int, metavar='N', help='pixels (default: as in training)')
    parser.add_argument('--num-heads', type=int, metavar='N', help='attention heads, if the checkpoint does not say')
    parser.add_argument('--batch-size', type=int, default=64, metavar='N', help='(default: 64)')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    args = parser.parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        embed(args)


def embed(args):
    import numpy as np
    from mmengine.device import get_device

    from aemim_mm import load_encoder
    from aemim_mm.apis.embeddings import embed_folder
    from aemim_mm.attacks import check_whole
    from aemim_mm.errors import UserError, first_of

    check_whole('--batch-size', args.batch_size, 1)
    if args.out.suffix != '.npz' or not args.out.parent.is_dir():
        raise UserError(f'--out is a file that ends in .npz, in a folder that exists, but got {args.out}.')
    encoder = load_encoder(
        args.checkpoint,
        domain=args.domain,
        img_size=args.img_size,
        out_type=args.out_type,
        num_heads=args.num_heads,
        device=get_device(),
        trusted=args.trust_checkpoint,
    )
    paths, features, unreadable = embed_folder(encoder, args.folder, args.batch_size)
    part = args.out.with_suffix('.part.npz')
    np.savez(part, paths=np.array(paths), features=features.numpy())
    part.replace(args.out)
    print(f'{args.out}: features {tuple(features.shape)} ({encoder.out_type}) of {len(paths)} images in {args.folder}')
    if unreadable:
        print(f'{len(unreadable)} files cannot be read: {first_of(unreadable, 5)}')


if __name__ == '__main__':
    main()
