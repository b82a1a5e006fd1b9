"""The small labelled data set that the package contains."""

import os.path as osp
import warnings

from mmengine.fileio import exists, join_path
from mmpretrain.datasets import FashionMNIST
from mmpretrain.registry import DATASETS

from ..errors import UserError

EMBEDDED = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'data', 'fashion_mnist')


@DATASETS.register_module()
class DemoFashionMNIST(FashionMNIST):
    """A part of Fashion-MNIST, embedded in the package: 5,000 training and 2,000 test images with balanced classes.

    Args:
        data_root: Another folder with the four unpacked idx files. Default: the embedded files.
        split: ``'train'`` or ``'test'``. Unlike in ``FashionMNIST``, ``test_mode`` does not change the split.
        limit: Number of images to use, >= 1. The files are shuffled, so the classes of the first images are nearly
            balanced.
        **kwargs: Arguments of mmpretrain's ``FashionMNIST``.

    Raises:
        UserError: A file is missing, or ``split`` or ``limit`` is wrong.
    """

    def __init__(
        self,
        data_root: str | None = None,
        split: str = 'train',
        limit: int | None = None,
        download: bool = False,
        **kwargs,
    ):
        if split not in ('train', 'test'):
            raise UserError(f"split is 'train' or 'test', but got {split!r}.")
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UserError(f'limit is a number of images, at least 1, but got {limit!r}. For all images, use None.')
        self.wants_test = split == 'test'
        if limit is not None:
            kwargs['indices'] = limit
        super().__init__(data_root=osp.expanduser(data_root or EMBEDDED), split=split, download=download, **kwargs)

    def load_data_list(self) -> list:
        """Read the images of the split."""
        if not self.download:
            self._check_files()
        test_mode, self.test_mode = self.test_mode, self.wants_test
        try:
            with warnings.catch_warnings():
                # mmpretrain makes tensors from read-only bytes (and copies them before it writes to them), and arrays
                # from tensors in a way that NumPy 2 deprecates.
                warnings.simplefilter('ignore')
                return super().load_data_list()
        finally:
            self.test_mode = test_mode

    def _check_files(self):
        root = self.data_prefix['root']
        names = [osp.splitext(name)[0] for name, _ in self.train_list + self.test_list]
        missing = [name for name in names if not exists(join_path(root, name))]
        if missing:
            raise UserError(
                f'Fashion-MNIST is incomplete: {", ".join(missing)} not in {osp.abspath(root)}. Expected: '
                f'{", ".join(names)}, unpacked, in one folder DIR, set by --data-root DIR; without the flag, '
                'the copy inside the package is used.'
            )
