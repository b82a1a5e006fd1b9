from .split import ADAPTERS, SplitLayer, split_adapters, split_layer, sync_adapters

__all__ = ['ADAPTERS', 'SplitLayer', 'split_adapters', 'split_layer', 'sync_adapters']
