"""Find image files in a folder."""

import logging
import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log

from ..errors import UserError

T = TypeVar('T')
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


def is_local(path: str) -> bool:
    """Whether a path is of the local file system, and not of a storage that mmengine reads by a backend."""
    return isinstance(get_file_backend(path, enable_singleton=True), LocalBackend)


def require_image_folder(root: str, expected: str) -> None:
    """Raise a UserError, with the sentence ``expected``, if ``root`` is no folder."""
    if not osp.exists(root):
        raise UserError(f'There is no image folder {root}. {expected}')
    if not osp.isdir(root):
        raise UserError(f'{root} is a file, not a folder. {expected}')


def find_images(root: str, is_image: Callable[[str], bool]) -> tuple[list, list]:
    """List the files in a folder and its subfolders, without hidden files and folders.

    Folders that cannot be opened are logged.

    Args:
        root: A local folder.
        is_image: Whether a path is an image's.

    Returns:
        The images and the other files: paths relative to ``root``, sorted.
    """
    files, closed = visible_files(root)
    if closed:
        print_log(
            f'Skipped {len(closed)} folders that cannot be opened, first: {closed[0]}', 'current', logging.WARNING
        )
    images = {file for file in files if is_image(file)}
    return sorted(images), sorted(set(files) - images)


def images_of(folder: str | os.PathLike) -> list[str]:
    """Return the paths of all images in a folder and its subfolders, relative to it and sorted.

    Raises:
        UserError: The folder does not exist, or has no image.
    """
    root, expected = os.fspath(folder), 'Expected: DIR/any/depth/*.jpg.'
    require_image_folder(root, expected)
    images, other = find_images(root, lambda path: path.lower().endswith(EXTENSIONS))
    if not images:
        raise UserError(f'There is no image in {root}, but {describe(other)}. {expected}')
    return images


def spread(names: Sequence[T], number: int) -> list[T]:
    """Return ``number`` of these, or all if there are fewer, evenly spread over their order."""
    number = min(number, len(names))
    return [names[index * len(names) // number] for index in range(number)]


def visible_files(root: str) -> tuple[list, list]:
    """List the files in a folder and its subfolders, without hidden files and folders.

    Args:
        root: A local folder.

    Returns:
        The paths of the files relative to ``root``, and the folders that cannot be opened.
    """
    files, closed, seen = [], [], set()
    walk = os.walk(root, followlinks=True, onerror=lambda error: closed.append(error.filename))
    for folder, subfolders, names in walk:
        # A link may point to a folder above it.
        here = osp.realpath(folder)
        if here in seen:
            subfolders.clear()
            continue
        seen.add(here)
        # Sort, so that of two links to a folder always the same one is followed.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
        files += [osp.relpath(osp.join(folder, name), root) for name in names if not name.startswith('.')]
    return files, closed


def describe(files: Iterable[str]) -> str:
    """Count files that are not images, and name their most frequent extensions."""
    kinds = Counter(osp.splitext(file)[1].lower() or 'without extension' for file in files)
    common = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))
    return f'{kinds.total()} other files' + (f' (most: {common})' if kinds else '')


def sorted_kinds(extensions: Iterable[str]) -> list:
    """Sort extensions: the usual ones first, in the order of ``EXTENSIONS``."""
    return sorted(extensions, key=lambda kind: ((*EXTENSIONS, kind)).index(kind))
