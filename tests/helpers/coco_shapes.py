"""Write a small data set in COCO's format: coloured shapes with masks on photographs, in three classes.

As in COCO, some objects are crowds, and some images have no object.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from pycocotools import mask as rle

CLASSES = ('circle', 'square', 'triangle')
COLOURS = ((230, 60, 50), (60, 200, 80), (60, 90, 240))
BACKGROUNDS = ('astronaut', 'chelsea', 'coffee', 'rocket')


def photographs() -> list:
    """Return photographs that scikit-image contains, (H, W, 3), RGB."""
    return [getattr(skimage.data, name)() for name in BACKGROUNDS]


def outline(kind: int, centre, radius: float, turn: float) -> np.ndarray:
    """Return the corners of a shape, (N, 2), in pixels."""
    corners, start = ((32, 0.0), (4, np.pi / 4), (3, -np.pi / 2))[kind]
    angles = start + turn + 2 * np.pi * np.arange(corners) / corners
    return np.asarray(centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def background(generator, size: int, photos: list) -> np.ndarray:
    """Return a random crop of a photograph, (size, size, 3), RGB."""
    photo = photos[generator.integers(len(photos))]
    side = generator.integers(size, min(photo.shape[:2]))
    top, left = (generator.integers(0, length - side + 1) for length in photo.shape[:2])
    return cv2.resize(photo[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)


def draw(generator, size: int, photos: list):
    """Draw one image, (size, size, 3), RGB. Return it with its objects: (class, corners)."""
    image, objects = background(generator, size, photos), []
    for _ in range(generator.integers(1, 4)):
        kind = int(generator.integers(3))
        radius = generator.uniform(0.12, 0.24) * size
        centre = generator.uniform(radius, size - radius, 2)
        if any(np.hypot(*(centre - other)) < radius + reach for _, _, other, reach in objects):
            continue
        corners = outline(kind, centre, radius, generator.uniform(-0.4, 0.4))
        colour = np.clip(np.array(COLOURS[kind]) + generator.normal(0, 25, 3), 0, 255)
        cv2.fillPoly(image, [np.round(corners).astype(np.int32)], colour.tolist())
        objects.append((kind, corners, centre, radius))
    return image, [(kind, corners) for kind, corners, *_ in objects]


def crowd(generator, size: int) -> dict:
    """Return the annotation of a crowd, a band on the left, as run lengths of a mask."""
    mask = np.zeros((size, size), dtype=np.uint8, order='F')
    mask[:, : size // 5] = 1
    code = rle.encode(mask)
    counts = []
    flat, value, run = mask.flatten(order='F'), 0, 0
    for pixel in flat:
        if pixel == value:
            run += 1
        else:
            counts.append(run)
            value, run = pixel, 1
    return dict(
        segmentation=dict(size=[size, size], counts=[*counts, run]),
        area=float(rle.area(code)),
        bbox=[float(value) for value in rle.toBbox(code)],
        iscrowd=1,
        category_id=1 + int(generator.integers(3)),
    )


def polygon(kind: int, corners: np.ndarray) -> dict:
    """Return the annotation of a shape."""
    (x, y), (right, bottom) = corners.min(0), corners.max(0)
    code = rle.merge(rle.frPyObjects([corners.flatten().tolist()], 1024, 1024))
    return dict(
        segmentation=[corners.round(2).flatten().tolist()],
        area=float(rle.area(code)),
        bbox=[float(value) for value in (x, y, right - x, bottom - y)],
        iscrowd=0,
        category_id=1 + kind,
    )


def make_split(root: Path, split: str, count: int, *, size: int = 128, seed: int = 0) -> Path:
    """Write ``count`` images and their annotations. Of eight images, one has a crowd, and one has no object."""
    generator, photos = np.random.default_rng(seed), photographs()
    folder = root / f'{split}2017'
    folder.mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        image, objects = draw(generator, size, photos)
        if number % 8 == 7:
            image, objects = background(generator, size, photos), []
        found = [polygon(*item) for item in objects] + ([crowd(generator, size)] if number % 8 == 6 else [])
        for item in found:
            annotations.append(dict(item, id=len(annotations) + 1, image_id=number + 1))
        name = f'{number:06d}.png'
        cv2.imwrite(str(folder / name), image[..., ::-1])
        images.append(dict(id=number + 1, file_name=name, height=size, width=size))
    categories = [dict(id=1 + index, name=name) for index, name in enumerate(CLASSES)]
    path = root / f'annotations/instances_{split}2017.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path
