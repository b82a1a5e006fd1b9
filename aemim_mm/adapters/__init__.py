from .adapted import AdaptedLayer, adapted_layers
from .added import ADAPTERS, AddedAdapter, merged_lora
from .second_weights import is_pretrained, split_layer, sync_adapters
from .split import recompute, split_adapters

__all__ = [
    'ADAPTERS',
    'AdaptedLayer',
    'AddedAdapter',
    'adapted_layers',
    'is_pretrained',
    'merged_lora',
    'recompute',
    'split_adapters',
    'split_layer',
    'sync_adapters',
]
