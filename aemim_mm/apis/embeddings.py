"""The features of all images in a folder."""

from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from os.path import join
from typing import NamedTuple

import torch

from ..attacks import check_whole
from ..datasets.files import images_of
from ..datasets.loading import UnreadableImageError
from ..errors import UserError
from .encoder import Encoder


class Embeddings(NamedTuple):
    """Features of images.

    Attributes:
        paths: Paths of the N images, relative to the folder and sorted.
        features: (N, ...), float32, on the CPU; the shape of one image's features depends on the encoder's
            ``out_type``.
        unreadable: Paths of the files that could not be read, relative to the folder.
    """

    paths: list[str]
    features: torch.Tensor
    unreadable: list[str]


@torch.no_grad()
def embed_folder(
    encoder: Encoder, folder: str | PathLike, batch_size: int = 64, crop_ratio: float = 0.875, num_threads: int = 4
) -> Embeddings:
    """Compute the features of all images in a folder and its subfolders.

    Hidden files and folders are ignored, as in ``UnlabelledFolder``.

    Args:
        encoder: As of ``load_encoder``, on any device.
        folder: The folder.
        batch_size: Number of images that the encoder sees at once.
        crop_ratio: As of ``Encoder.preprocess``.
        num_threads: Number of images that are read at once.

    Raises:
        UserError: The folder does not exist, or no image in it can be read.
    """
    check_whole('batch_size', batch_size, 1)
    paths = images_of(folder)

    def read(path):
        try:
            return encoder.preprocess(join(folder, path), crop_ratio)
        except UnreadableImageError:
            return None

    features, unreadable = [], []
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            images = list(pool.map(read, batch))
            unreadable += [path for path, image in zip(batch, images) if image is None]
            if readable := [image for image in images if image is not None]:
                features.append(encoder(torch.cat(readable)).float().cpu())
    if not features:
        raise UserError(f'None of the {len(paths)} images in {folder} can be read, first {paths[0]}.')
    skipped = set(unreadable)
    return Embeddings([path for path in paths if path not in skipped], torch.cat(features), unreadable)
