"""Draw images of a folder, each with its nearest neighbours by the features of an encoder.

Run:       python tools/visualization/neighbours.py work_dirs/aemim_vit-b_folder/epoch_300.pth DIR
Duration:  one forward pass for each image, on a GPU if there is one

Neighbours are those of the k-NN classifier: nearest by cosine similarity, with the mean feature as the origin.
"""

import argparse
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description='Draw images of a folder, each with its nearest neighbours.')
    parser.add_argument('checkpoint', help='file, or folder with config.json, of any layout in docs/export.md')
    parser.add_argument('folder', type=Path, help='folder of images, nested or flat')
    parser.add_argument(
        '--queries', nargs='+', metavar='PATH', help='images, relative to the folder (default: --rows images at random)'
    )
    parser.add_argument('--rows', type=int, default=6, metavar='N', help='number of random images (default: 6)')
    parser.add_argument('--k', type=int, default=5, help='number of neighbours (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of images (default: 0)')
    parser.add_argument('--picture', type=Path, default=Path('neighbours.png'), help='(default: neighbours.png)')
    parser.add_argument('--out-type', choices=('cls_token', 'avg_featmap'), help='kind of features (default: its own)')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    args = parser.parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        draw(args)


def draw(args):
    import torch
    from mmengine.device import get_device
    from PIL import Image

    from aemim_mm import load_encoder
    from aemim_mm.apis.embeddings import embed_folder
    from aemim_mm.errors import UserError, unknown_name
    from aemim_mm.evaluation.probe import KNN
    from aemim_mm.visualization.panels import draw_panels

    encoder = load_encoder(args.checkpoint, out_type=args.out_type, device=get_device(), trusted=args.trust_checkpoint)
    paths, features, _ = embed_folder(encoder, args.folder)
    if not 1 <= args.k < len(paths):
        raise UserError(f'--k is from 1 to {len(paths) - 1}, the number of other images, but got {args.k}.')
    number = {path: index for index, path in enumerate(paths)}
    if args.queries:
        for path in args.queries:
            if path not in number:
                raise unknown_name('image', path, paths)
        queries = [number[path] for path in args.queries]
    else:
        generator = torch.Generator().manual_seed(args.seed)
        queries = torch.randperm(len(paths), generator=generator)[: args.rows].tolist()
    knn = KNN(features, torch.arange(len(features)), args.k + 1)
    rows = []
    for query, similarity, index in zip(queries, *knn.nearest(features[queries])):
        # The image itself is among its neighbours, though not always first: there may be copies of it.
        found = [(near, value) for near, value in zip(index.tolist(), similarity.tolist()) if near != query][: args.k]
        print(f'{paths[query]}: {", ".join(f"{paths[near]} ({value:.2f})" for near, value in found)}')
        row = [encoder.pixels(args.folder / paths[near]) for near in (query, *(near for near, _ in found))]
        rows.append([picture.squeeze() for picture in row])
    columns = ['image', *(f'neighbour {rank + 1}' for rank in range(args.k))]
    Image.fromarray(draw_panels(rows, columns)).save(args.picture, optimize=True)
    print(f'Written to {args.picture}: {len(rows)} of {len(paths)} images, by {encoder.out_type}.')


if __name__ == '__main__':
    main()
