"""The models of ``configs/metafile.yml``, for ``mmpretrain.get_model`` and ``load_encoder``."""

from pathlib import Path

from mmpretrain.apis import ModelHub

from ..errors import UserError

PACKAGE = Path(__file__).parents[1]


def weights_of_name(path_or_name: str) -> str:
    """Return the file or URL of the weights of a model; return a path unchanged.

    Raises:
        UserError: There is no such file or model, or the model has no published weights.
    """
    if Path(path_or_name).exists() or not ModelHub.has(path_or_name.lower()):
        is_name = not Path(path_or_name).suffix and '/' not in path_or_name
        if is_name and not Path(path_or_name).exists():
            raise UserError(
                f'{path_or_name} is no file, no folder, and no model of configs/metafile.yml. Pass a checkpoint.'
            )
        return path_or_name
    weights = ModelHub._models_dict[path_or_name.lower()].weights
    if not weights:
        raise UserError(
            f'No weights of {path_or_name} are published. Pre-train it with tools/train.py, and pass the checkpoint.'
        )
    return weights


def register_models() -> None:
    """Register the models of configs/metafile.yml for ``mmpretrain.get_model`` and ``list_models``."""
    # The first folder is for an installed package, the second for a checkout.
    roots = [root for root in (PACKAGE / '.mim', PACKAGE.parent) if (root / 'model-index.yml').is_file()]
    if roots and not ModelHub.has('aemim_vit-b_800e'):
        ModelHub.register_model_index(roots[0] / 'model-index.yml', config_prefix=roots[0])
