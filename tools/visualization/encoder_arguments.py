"""What the tools share that draw what an encoder sees in a folder of images."""

import argparse
from pathlib import Path

SUFFIXES = ('.png', '.jpg', '.webp')


def encoder_arguments(description: str, picture: str) -> argparse.ArgumentParser:
    """Return a parser for the encoder, the folder and the picture.

    Args:
        description: What the tool does.
        picture: Default name of the picture.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('checkpoint', help='file, or folder with config.json, of any layout in docs/export.md')
    parser.add_argument('folder', type=Path, help='folder of images, nested or flat')
    parser.add_argument('--domain', choices=['clean', 'adv'], default='clean', help='(default: clean)')
    parser.add_argument('--img-size', type=int, metavar='N', help='pixels (default: as in training)')
    parser.add_argument('--num-heads', type=int, metavar='N', help='attention heads, if the checkpoint does not say')
    parser.add_argument('--seed', type=int, default=0, help='of what is drawn at random (default: 0)')
    parser.add_argument('--picture', type=Path, default=Path(picture), help=f'(default: {picture})')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    return parser


def check_picture(path: Path) -> None:
    """Raise a UserError if no picture can be written there."""
    from aemim_mm.errors import UserError

    if path.suffix not in SUFFIXES or not path.absolute().parent.is_dir():
        raise UserError(
            f'--picture is a file that ends in {", ".join(SUFFIXES)}, in a folder that exists, but got {path}.'
        )


def encoder_of(args: argparse.Namespace, out_type: str | None):
    """Load the encoder, on a GPU if there is one, once the picture can be written."""
    from mmengine.device import get_device

    from aemim_mm import load_encoder

    check_picture(args.picture)
    return load_encoder(
        args.checkpoint,
        domain=args.domain,
        img_size=args.img_size,
        out_type=out_type,
        num_heads=args.num_heads,
        device=get_device(),
        trusted=args.trust_checkpoint,
    )


def some_images(encoder, folder: Path, number: int):
    """Read images evenly spread over a folder. An unreadable one is printed, and the next one takes its place.

    Args:
        encoder: As of ``load_encoder``.
        folder: The folder.
        number: Number of images, >= 1.

    Returns:
        Their paths, relative to the folder, and the images (B, C, H, W), as ``encoder.preprocess`` returns them.

    Raises:
        UserError: No image can be read.
    """
    import torch

    from aemim_mm.datasets.files import images_of, spread
    from aemim_mm.datasets.loading import UnreadableImageError
    from aemim_mm.errors import UserError

    names = images_of(folder)
    found, failed = {}, set()
    for first in spread(range(len(names)), number):
        for name in (*names[first:], *names[:first]):
            if name in found or name in failed:
                continue
            try:
                found[name] = encoder.preprocess(folder / name)
                break
            except UnreadableImageError as error:
                failed.add(name)
                print(f'Left out: {error}')
    if not found:
        raise UserError(f'None of the {len(names)} images in {folder} can be read.')
    return list(found), torch.cat(list(found.values()))
