"""A small Mask R-CNN, trained within seconds on the images that it is tested on, and images to attack."""

from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from aemim_mm.launch import load_config

CONFIG = Path(__file__).parents[1] / 'det/small_mask_rcnn.py'


def detector(seed=0, model=None):
    """Build a detector with seeded weights, the small Mask R-CNN or that of a config."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(deepcopy(model or load_config(CONFIG).model))


def train(root, iterations=100):
    """Train by Adam on all images with objects in a folder of ``coco_shapes``. Return the detector in eval mode."""
    model = detector()
    cfg = load_config(CONFIG, data_root=root)
    with DefaultScope.overwrite_default_scope('mmdet'), redirect_stdout(StringIO()):
        dataset = cfg.train_dataloader.dataset
        dataset.update(type='mmdet.CocoDataset', metainfo=dict(classes=('circle', 'square', 'triangle')))
        dataset = DATASETS.build(dataset)
        batch = pseudo_collate([dataset[number] for number in range(len(dataset))])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    torch.manual_seed(0)
    model.train()
    for _ in range(iterations):
        data = model.data_preprocessor(deepcopy(batch), True)
        loss, _ = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def image(size, seed=0, objects=2, padded=None, scale=2):
    """Return an image of whole pixel values, (3, H, W), and its data sample, as a pipeline of mmdet gives them.

    Args:
        size: Height and width of the image, which ``Resize`` has enlarged by ``scale``.
        seed: Seed of pixels and boxes.
        objects: Number of objects.
        padded: Height and width after a ``Pad`` in the pipeline, with pixels of 114. Default: none.
        scale: By how much the image was enlarged.
    """
    generator = np.random.default_rng(seed)
    height, width = size
    full = padded or size
    pixels = torch.full((3, *full), 114, dtype=torch.uint8)
    pixels[:, :height, :width] = torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8))
    corners = generator.uniform(0, 0.5, (objects, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + generator.uniform(0.2, 0.5, (objects, 2)) * (width, height)], axis=1)
    masks = np.zeros((objects, *full), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
        mask[top:bottom, left:right] = 1
    sample = DetDataSample(
        metainfo=dict(
            img_id=seed, img_shape=full, ori_shape=(height // scale, width // scale), scale_factor=(scale, scale)
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes).float(),
        labels=torch.from_numpy(generator.integers(0, 3, objects)),
        masks=BitmapMasks(masks, *full),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return pixels, sample


def batch(model, *images):
    """Return the inputs and data samples of a batch, normalised and padded by the detector's data preprocessor."""
    pixels, samples = zip(*images)
    data = model.data_preprocessor(dict(inputs=list(pixels), data_samples=list(deepcopy(samples))), False)
    return data['inputs'], data['data_samples']
