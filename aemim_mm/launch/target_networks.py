"""Say where to get the weights of a target network that cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config

from ..datasets.of_config import kind_of
from ..errors import UserError

CONVERTED = 'https://download.openmmlab.com/mmselfsup/1.x/target_generator_ckpt'


def _published(authors: str, file: str) -> str:
    return f"of its authors: https://{authors}; in mmpretrain's format: {CONVERTED}/{file}"


DALLE_ENCODER = "DALL-E's encoder", _published('github.com/openai/DALL-E', 'dalle_encoder.pth')
DALLE_DECODER = (
    "DALL-E's decoder",
    'of its authors: https://github.com/openai/DALL-E, whose decoder.pkl docs/baselines.md says how to convert',
)
# Type of a target network: for each of its files, the name, where it comes from, and the field that names it.
TARGET_NETWORKS = {
    'CLIPGenerator': [('CLIP', _published('github.com/openai/CLIP', 'clip_vit_base_16.pth.tar'), 'tokenizer_path')],
    'DALL-E': [(*DALLE_ENCODER, 'init_cfg.checkpoint')],
    'DALLETokenizer': [
        (*DALLE_ENCODER, 'encoder.init_cfg.checkpoint'),
        (*DALLE_DECODER, 'decoder.init_cfg.checkpoint'),
    ],
    'VQKD': [
        (
            'VQ-KD',
            _published('github.com/microsoft/unilm/tree/master/beit2', 'vqkd_encoder.pth'),
            'init_cfg.checkpoint',
        )
    ],
    'VQTokenizer': [
        (
            'a VQ tokenizer',
            'the one of the demo is trained by python tools/train.py configs/demo/vq-tokenizer_16e_fashion-mnist.py',
            'init_cfg.checkpoint',
        )
    ],
}


@contextmanager
def target_network(cfg: Config) -> Iterator[None]:
    """Complete a UserError about the weights of the config's target network: what they are, and how to name a file."""
    try:
        yield
    except UserError as error:
        part, path = cfg.model.get('target_generator') or {}, 'model.target_generator'
        if 'tokenizer' in part:
            part, path = part['tokenizer'], f'{path}.tokenizer'
        for name, source, field in TARGET_NETWORKS.get(kind_of(part), ()):
            file = part
            for key in field.split('.'):
                file = (file or {}).get(key)
            if file and str(file) in str(error):
                raise UserError(
                    f'{error} It is the target network, {name} ({source}). Pass a file with --cfg-options '
                    f'{path}.{field}=FILE.'
                ) from error
        raise
