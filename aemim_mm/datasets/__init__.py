from .corruptions import Corrupt, CropBorder
from .demo import DemoFashionMNIST
from .image_folder import UnlabelledFolder
from .labelled_folder import LabelledFolder
from .loading import LoadWholeImage, UnreadableImageError
from .masks import BlockMaskGenerator, IBOTMaskGenerator
from .moving import BatchDataPreprocessor, BatchTwoNormDataPreprocessor
from .shift import ImageNetA, ImageNetC, ImageNetR, ImageNetSketch, ImageNetV2, StylizedImageNet
from .shift_labels import ImageNetReaL, ObjectNet

__all__ = [
    'BatchDataPreprocessor',
    'BatchTwoNormDataPreprocessor',
    'BlockMaskGenerator',
    'Corrupt',
    'CropBorder',
    'DemoFashionMNIST',
    'IBOTMaskGenerator',
    'ImageNetA',
    'ImageNetC',
    'ImageNetR',
    'ImageNetReaL',
    'ImageNetSketch',
    'ImageNetV2',
    'LabelledFolder',
    'LoadWholeImage',
    'ObjectNet',
    'StylizedImageNet',
    'UnlabelledFolder',
    'UnreadableImageError',
]
