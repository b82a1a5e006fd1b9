"""Read the metadata of a checkpoint without trusting or running it."""

import ast

from mmpretrain.models import VisionTransformer


def _all_of(value, kinds) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, kinds) for item in value)


# Fields of ``EncoderSpec``, each with the test of its value.
IS_VALID = {
    **dict.fromkeys(('num_heads', 'decoder_num_heads'), lambda value: type(value) is int and value > 0),
    **dict.fromkeys(('to_rgb', 'norm_pix'), lambda value: isinstance(value, bool)),
    **dict.fromkeys(('mean', 'std'), lambda value: _all_of(value, (int, float))),
    'img_size': lambda value: type(value) is int or (_all_of(value, int) and len(value) == 2),
    'eps': lambda value: isinstance(value, float) and 0 < value < 1,
}


def valid(stored: dict) -> dict:
    """Return the fields that are known and have a valid value; ignore the others."""
    return {name: value for name, value in stored.items() if name in IS_VALID and IS_VALID[name](value)}


def fields_of_config(text: str) -> dict:
    """Read fields of ``EncoderSpec`` from the text of a config, as mmengine stores it in a checkpoint.

    The text is parsed, not run. ``Config.fromstring`` would run it.

    Returns:
        The fields that the config sets; none if it contains more than literals.
    """
    model, top = {}, {}
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name in ('model', 'data_preprocessor'):
                    top[name] = _literal(statement.value)
        model = top.get('model') or {}
        backbone, neck, head = (_dict(model.get(name)) for name in ('backbone', 'neck', 'head'))
        preprocessor = _dict(model.get('data_preprocessor')) or _dict(top.get('data_preprocessor'))
    # The text is no config, or contains more than literals.
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
        return {}
    arch = backbone.get('arch')
    arch = VisionTransformer.arch_zoo.get(arch, {}) if isinstance(arch, str) else _dict(arch)
    heads = arch.get('num_heads')
    fields = dict(
        num_heads=heads if isinstance(heads, int) else None,
        decoder_num_heads=neck.get('decoder_num_heads'),
        img_size=backbone.get('img_size', 224 if backbone else None),
        eps=_dict(backbone.get('norm_cfg')).get('eps'),
        norm_pix=head.get('norm_pix', False if head else None),
        mean=preprocessor.get('mean'),
        std=preprocessor.get('std'),
        to_rgb=preprocessor.get('to_rgb', False) if preprocessor else None,
    )
    return {name: value for name, value in fields.items() if value is not None}


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _literal(node):
    """Evaluate literals and ``dict(...)``."""
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or node.args:
            raise ValueError('more than literals')
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values) if key}
    return ast.literal_eval(node)
