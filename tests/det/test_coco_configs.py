"""Every COCO config documents its command, builds its model and optimizer, reads data, and computes losses."""

import ast
import json
import re

import cv2
import numpy as np
import pytest
import torch
from helpers import runs
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.models import SwinTransformer, ViTSAM
from test_configs import METAFILE

from aemim_mm.datasets.of_config import check_data
from aemim_mm.launch import load_config

FOLDER = 'benchmarks/coco'
NAMES = sorted(path.name for path in (runs.CONFIGS / FOLDER).glob('*.py'))
VITDET = [name for name in NAMES if 'vitdet' in name]
# Number of passes over the data, with the repetitions of mmdet's RepeatDataset.
EPOCHS = {'1x': 12, '3x': 36, 'lsj-100e': 100}


def load(name, data_root=None, **given):
    return load_config(runs.CONFIGS / FOLDER / name, data_root=data_root, **given)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """Two images of noise with all 80 categories, in COCO's layout."""
    root = tmp_path_factory.mktemp('coco')
    (root / 'annotations').mkdir()
    names = CocoDataset.METAINFO['classes']
    categories = [dict(id=number + 1, name=name) for number, name in enumerate(names)]
    box = dict(bbox=[40.0, 30.0, 200.0, 120.0], area=24000.0, iscrowd=0)
    corners = [[40, 30, 240, 30, 240, 150, 40, 150]]
    for split in ('train', 'val'):
        (root / f'{split}2017').mkdir()
        images, annotations = [], []
        for number in (1, 2):
            coarse = np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype=np.uint8)
            cv2.imwrite(str(root / f'{split}2017/{number}.jpg'), cv2.resize(coarse, (480, 320)))
            images.append(dict(id=number, file_name=f'{number}.jpg', width=480, height=320))
            annotations.append(dict(id=number, image_id=number, category_id=number, segmentation=corners, **box))
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
    return root


def build(cfg):
    """Build the model of a config with its full width but few layers."""
    backbone = cfg.model.backbone
    backbone.init_cfg = None
    if backbone.type == 'ViTDet':
        backbone.arch = dict(ViTSAM.arch_zoo[backbone.arch], num_layers=2, global_attn_indexes=[])
    else:
        backbone.arch = {**SwinTransformer.arch_zoo['base'], 'depths': [1] * 4}
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    return model


@pytest.mark.parametrize('name', NAMES)
def test_a_sample_through_the_model(name, coco):
    cfg = load(name, str(coco))
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    model = build(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        validation = DATASETS.build(cfg.val_dataloader.dataset)
    torch.manual_seed(0)
    np.random.seed(0)
    sample = dataset[0]
    assert len(dataset) == 2 * EPOCHS[next(key for key in EPOCHS if key in name)] // cfg.train_cfg.max_epochs
    truth, with_masks = sample['data_samples'].gt_instances, name.startswith('mask')
    assert len(truth.bboxes) == 1 and ('masks' in truth) == with_masks
    data = model.data_preprocessor(pseudo_collate([sample]), True)
    if 'lsj' in name:
        assert data['inputs'].shape[-2:] == (1024, 1024)
        assert data['data_samples'][0].gt_instances.masks.masks.shape == (1, 1024, 1024)
        assert max(validation[0]['inputs'].shape) == 1024
    else:
        assert min(data['inputs'].shape[-2:]) >= 640 and max(validation[0]['inputs'].shape) == 1200
    if '1x' not in name or not with_masks:
        # The model equals that of the 1x config; test_annotation_uses.py trains Faster R-CNN.
        return
    with torch.no_grad():
        losses = model.loss(data['inputs'], data['data_samples'])
    total, _ = model.parse_losses(losses)
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'} <= losses.keys()
    assert torch.isfinite(total) and total > 0


@pytest.mark.parametrize('name', NAMES)
def test_the_optimizer(name):
    cfg = load(name)
    model = build(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    groups = {group['param_name']: group for group in groups if 'param_name' in group}
    decay = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    assert decay == (0.7 if name in VITDET else 0.9)
    layers = 2 if name in VITDET else 4
    assert groups['backbone.patch_embed.projection.weight']['lr_scale'] == pytest.approx(decay ** (layers + 1))
    assert groups['roi_head.bbox_head.fc_cls.weight']['lr_scale'] == 1
    for label, _ in model.named_parameters():
        exempt = re.search(r'pos_embed|rel_pos_|bias_table|\.(ln|norm)\w*\.', label)
        decays = groups[label]['weight_decay'] > 0
        assert not (exempt and decays) and (decays or exempt or '.scales.0.1.' in label), label
    assert cfg.auto_scale_lr.base_batch_size == (64 if 'lsj' in name else 16)


@pytest.mark.parametrize('name', VITDET)
def test_it_is_vitdets_model(name):
    model = load(name).model
    assert model.backbone.window_size == 14 and model.backbone.img_size == 1024
    assert ViTSAM.arch_zoo[model.backbone.arch]['global_attn_indexes'] == [2, 5, 8, 11]
    assert model.backbone.init_cfg == dict(type='Pretrained', checkpoint='', prefix='backbone.')
    heads = [head for head in (model.roi_head.bbox_head, model.roi_head.mask_head) if head]
    assert len(heads) == 1 + name.startswith('mask') and {head.norm_cfg.type for head in heads} == {'mmpretrain.LN2d'}


@pytest.mark.parametrize('name', NAMES)
def test_boxes_and_masks_are_measured(name):
    cfg = load(name)
    measured = ['bbox', 'segm'] if name.startswith('mask') else 'bbox'
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == measured


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_and_the_metafile(name):
    path = f'configs/{FOLDER}/{name}'
    docstring = ast.get_docstring(ast.parse((runs.REPO / path).read_text()))
    (command,) = re.findall(r'^Run: +(.+)$', docstring, re.MULTILINE)
    assert path in command.split() and all(f'{word}: ' in docstring for word in ('Needs', 'Expected'))
    assert 'model.backbone.init_cfg.checkpoint=CKPT' in docstring
    for mentioned in re.findall(r'configs/\S+\.py', docstring):
        assert (runs.REPO / mentioned).is_file(), mentioned
    listed = METAFILE[path]
    assert listed['Metadata']['Epochs'] == EPOCHS[next(key for key in EPOCHS if key in name)]
    assert listed['Metadata']['Batch Size'] == load(name).auto_scale_lr.base_batch_size
    assert listed['Metadata']['Training Data'] == 'COCO'
