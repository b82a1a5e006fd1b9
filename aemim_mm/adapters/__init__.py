from .adapted import AdaptedLayer, adapted_layers, seen_in_domain
from .added import ADAPTERS, AddedAdapter, merged_lora
from .second_weights import is_pretrained, split_layer, sync_adapters
from .split import listed_kinds, recompute, split_adapters

__all__ = [
    'ADAPTERS',
    'AdaptedLayer',
    'AddedAdapter',
    'adapted_layers',
    'is_pretrained',
    'listed_kinds',
    'merged_lora',
    'recompute',
    'seen_in_domain',
    'split_adapters',
    'split_layer',
    'sync_adapters',
]
