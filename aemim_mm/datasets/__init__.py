from .demo import DemoFashionMNIST
from .image_folder import UnlabelledFolder
from .loading import LoadWholeImage, UnreadableImageError

__all__ = ['DemoFashionMNIST', 'LoadWholeImage', 'UnlabelledFolder', 'UnreadableImageError']
