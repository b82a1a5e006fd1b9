"""Say where to get the weights of a target network that cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config

from ..datasets.of_config import kind_of
from ..errors import UserError

# Type of a target network: its name, where its authors publish it, the field of its weights, and mmpretrain's file.
TARGET_NETWORKS = {
    'CLIPGenerator': ('CLIP', 'github.com/openai/CLIP', 'tokenizer_path', 'clip_vit_base_16.pth.tar'),
    'DALL-E': ("DALL-E's encoder", 'github.com/openai/DALL-E', 'init_cfg.checkpoint', 'dalle_encoder.pth'),
    'VQKD': ('VQ-KD', 'github.com/microsoft/unilm/tree/master/beit2', 'init_cfg.checkpoint', 'vqkd_encoder.pth'),
}
CONVERTED = 'https://download.openmmlab.com/mmselfsup/1.x/target_generator_ckpt'


@contextmanager
def target_network(cfg: Config) -> Iterator[None]:
    """Complete a UserError about the weights of the config's target network: what they are, and how to name a file."""
    try:
        yield
    except UserError as error:
        part = cfg.model.get('target_generator') or {}
        name, authors, field, file = TARGET_NETWORKS.get(kind_of(part), ('', '', '', ''))
        path = part
        for key in field.split('.'):
            path = (path or {}).get(key)
        if not path or str(path) not in str(error):
            raise
        raise UserError(
            f"{error} It is the target network, {name} (of its authors: https://{authors}; in mmpretrain's format: "
            f'{CONVERTED}/{file}). Pass a file with --cfg-options model.target_generator.{field}=FILE.'
        ) from error
