"""SimMIM's decoder for images of any number of channels."""

from mmpretrain.models import SimMIMLinearDecoder
from mmpretrain.registry import MODELS
from torch import nn

from ..attacks import check_whole


@MODELS.register_module()
class SimMIMDecoder(SimMIMLinearDecoder):
    """mmpretrain's ``SimMIMLinearDecoder``, which predicts colour images, for grey ones too.

    The parameter names are the same.

    Args:
        in_channels: Channels of the encoder's feature map.
        encoder_stride: Pixels of an image per feature, along a side.
        image_channels: Channels of the images, >= 1.

    Raises:
        UserError: ``image_channels`` is out of its range.

    Source: SimMIM, arXiv 2111.09886, section 3.
    """

    def __init__(self, in_channels: int, encoder_stride: int, image_channels: int = 3):
        super().__init__(in_channels, encoder_stride)
        check_whole('image_channels', image_channels, 1)
        self.decoder[0] = nn.Conv2d(in_channels, encoder_stride**2 * image_channels, kernel_size=1)
