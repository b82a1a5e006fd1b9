"""Draw images of a folder, each with its nearest neighbours by the features of an encoder.

Run:       python tools/visualization/neighbours.py work_dirs/aemim_vit-b_folder/epoch_300.pth DIR
Duration:  one forward pass for each image, on a GPU if there is one

Neighbours are those of the k-NN classifier: nearest by cosine similarity, with the mean feature as the origin.
"""

from encoder_arguments import encoder_arguments, encoder_of


def main():
    parser = encoder_arguments('Draw images of a folder, each with its nearest neighbours.', 'neighbours.png')
    parser.add_argument(
        '--queries', nargs='+', metavar='PATH', help='images, relative to the folder (default: --rows images at random)'
    )
    parser.add_argument('--rows', type=int, default=6, metavar='N', help='number of random images (default: 6)')
    parser.add_argument('--k', type=int, default=5, help='number of neighbours (default: 5)')
    parser.add_argument('--out-type', choices=('cls_token', 'avg_featmap'), help='kind of features (default: its own)')
    args = parser.parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        draw(args)


def draw(args):
    import torch
    from PIL import Image

    from aemim_mm.apis.embeddings import embed_folder
    from aemim_mm.attacks import check_whole
    from aemim_mm.datasets.files import images_of
    from aemim_mm.errors import UserError, did_you_mean, first_of
    from aemim_mm.evaluation.probe import KNN
    from aemim_mm.visualization.panels import draw_panels

    check_whole('--rows', args.rows, 1)
    encoder, names = encoder_of(args, args.out_type), images_of(args.folder)
    if not 1 <= args.k < len(names):
        raise UserError(f'--k is from 1 to {len(names) - 1}, the number of other images, but got {args.k}.')
    for query in args.queries or ():
        if query not in names:
            raise UserError(
                f'There is no image {query} in {args.folder}. Its path is relative to the folder.'
                + did_you_mean(query, names)
            )
    paths, features, unreadable = embed_folder(encoder, args.folder)
    if unreadable:
        print(f'{len(unreadable)} files cannot be read, and are left out: {first_of(unreadable)}')
    number = {path: index for index, path in enumerate(paths)}
    generator = torch.Generator().manual_seed(args.seed)
    random = torch.randperm(len(paths), generator=generator)[: args.rows].tolist()
    queries = [number[path] for path in args.queries if path in number] if args.queries else random
    # Files that cannot be read are no neighbours.
    k = min(args.k, len(paths) - 1)
    if not queries or not k:
        raise UserError(f'Of the images in {args.folder}, too few can be read, or none of --queries.')
    knn = KNN(features, torch.arange(len(features)), k + 1)
    rows = []
    for query, similarity, index in zip(queries, *knn.nearest(features[queries])):
        # The image itself is among its neighbours, though not always first: there may be copies of it.
        found = [(near, value) for near, value in zip(index.tolist(), similarity.tolist()) if near != query][:k]
        print(f'{paths[query]}: {", ".join(f"{paths[near]} ({value:.2f})" for near, value in found)}')
        row = [encoder.pixels(args.folder / paths[near]) for near in (query, *(near for near, _ in found))]
        rows.append([picture.squeeze() for picture in row])
    columns = ['image', *(f'neighbour {rank + 1}' for rank in range(k))]
    Image.fromarray(draw_panels(rows, columns)).save(args.picture, optimize=True)
    print(f'Written to {args.picture}: {len(rows)} of {len(paths)} images, by {encoder.out_type}.')


if __name__ == '__main__':
    main()
