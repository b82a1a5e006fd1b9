from .split import ADAPTERS, SplitLayer, is_pretrained, split_adapters, split_layer, sync_adapters

__all__ = ['ADAPTERS', 'SplitLayer', 'is_pretrained', 'split_adapters', 'split_layer', 'sync_adapters']
