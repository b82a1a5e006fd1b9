"""A hook that records which images a training has used. A config imports it."""

import os.path as osp

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SeenImagesHook(Hook):
    """Append the epoch and the path of each image of a batch to ``seen_RANK.txt`` in the work directory."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(osp.join(runner.work_dir, f'seen_{runner.rank}.txt'), 'a') as file:
            file.writelines(f'{runner.epoch} {sample.img_path}\n' for sample in data_batch['data_samples'])
