"""Classes of labelled data: do those of training, validation and test agree, and does the model know all labels?"""

import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

import mmengine
import numpy as np
from mmengine.config import Config

from ..errors import UserError
from .files import is_local
from .labelled_folder import EXPECTED, LabelledFolder
from .of_config import LOADERS, datasets, folders_of, has_list, kind_of
from .shift_classes import class_folders
from .skipping import inner_datasets


def check_classes(cfg: Config, loaders: Sequence[str]) -> None:
    """Check that all labelled folders of these data loaders have the classes of the training data, in their order.

    Otherwise, a class that one folder lacks would shift the labels of all later classes there. The training data are
    compared even if their loader is not used, unless they are absent.

    Raises:
        UserError: The classes differ. The message names a class and both folders.
    """
    names = [name for name in LOADERS if name in ('train_dataloader', *loaders)]
    listed = [dataset for name in names for dataset in datasets(cfg, (name,))]
    folders = [found for dataset in listed if (found := _classes_of(dataset))]
    for folder, classes in folders[1:]:
        first, expected = folders[0]
        for lacking, having, extra in (
            (folder, first, set(expected) - set(classes)),
            (first, folder, set(classes) - set(expected)),
        ):
            if extra:
                name = min(extra)
                cases = [twin for twin in {*expected, *classes} - {name} if twin.lower() == name.lower()]
                raise UserError(
                    f'{lacking} lacks the class {name!r}, which {having} has{f" (but {cases[0]!r})" if cases else ""}. '
                    'Expected the same class folders in both, since the order of their names gives the labels. Rename '
                    'or move the folder, or make an empty one for a class without images.'
                )
        if classes != expected:
            raise UserError(f'{folder} has the classes of {first} in another order. Set the same classes in both.')


def _classes_of(dataset: dict) -> tuple[str, list] | None:
    """Return the folder and the classes of labelled images, if the folder exists and no list gives the labels."""
    kind, folder = kind_of(dataset), folders_of(dataset)[-1]
    listed = has_list(dataset) if kind == 'ImageNet' else dataset.get('ann_file')
    if kind not in ('LabelledFolder', 'ImageNet') or listed or not is_local(folder) or not osp.isdir(folder):
        return None
    names = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes') or []
    if isinstance(names, str):
        names = mmengine.list_from_file(osp.expanduser(names))
    folders = class_folders(folder, EXPECTED, None)
    # Names for people do not say which folders there are.
    return folder, list(names) if set(names) & set(folders) else folders


def check_labels(dataset: object, model: Any) -> None:
    """Check that a classifier has an output for each label of its training, validation or test images.

    A label out of range would be an IndexError in the loss on a CPU, a failed assertion on CUDA, and an error of the
    classifier in a test.

    Args:
        dataset: A built data set, or a wrapper.
        model: A model; without ``head.num_classes``, nothing is checked.

    Raises:
        UserError: A label is too large or negative, or the class folders are not as many as the classes; or the data
            preprocessor, which encodes the labels for mixup, has another number of classes.
    """
    count = getattr(getattr(model, 'head', None), 'num_classes', None)
    if not isinstance(count, int):
        return
    preprocessor = getattr(model, 'data_preprocessor', None)
    encoded = getattr(preprocessor, 'num_classes', None) if getattr(preprocessor, 'to_onehot', False) else None
    if encoded not in (None, count):
        raise UserError(
            f'data_preprocessor.num_classes is {encoded}, but model.head.num_classes is {count}. Set both to the '
            'number of classes, since mixup and cutmix encode the labels by the first.'
        )
    for part in inner_datasets(dataset):
        fix = 'Set model.head.num_classes and data_preprocessor.num_classes to the number of classes, or correct the '
        folders = getattr(part, 'folder_to_idx', None)
        if isinstance(part, LabelledFolder) and folders and len(folders) != count:
            raise UserError(
                f'{part.image_folder()} has {len(folders)} classes, but model.head.num_classes is {count}. '
                f'{fix}folders.'
            )
        if folders and len(folders) <= count:
            continue
        for info, label in _labels(part):
            if not 0 <= label < count:
                where = info.get('img_path', f'image {info.get("sample_idx")}')
                raise UserError(
                    f'{where} has the label {label} ({type(part).__name__}), but model.head.num_classes is {count}: '
                    f'labels are 0 to {count - 1}. {fix}label.'
                )


def _labels(dataset: Any) -> Iterator[tuple[dict, int]]:
    for number in range(len(dataset) if hasattr(dataset, 'get_data_info') else 0):
        info = dataset.get_data_info(number)
        if 'gt_label' in info:
            yield from ((info, int(label)) for label in np.ravel(info['gt_label']))
