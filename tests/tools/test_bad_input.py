"""Each mistake of a user gives one clear error and a non-zero exit code, and costs nothing that was there before."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import runs
from PIL import Image

FOLDER = runs.CONFIGS / 'aemim_vit-b_folder.py'
IMAGENET = runs.CONFIGS / 'aemim_vit-b_800e.py'
# ViT-B's folder config, small enough for a CPU.
SMALL = (
    'model.backbone.arch=deit-tiny',
    'model.backbone.img_size=32',
    'model.neck.img_size=32',
    'model.neck.embed_dim=192',
    'model.neck.decoder_depth=1',
    'train_dataloader.dataset.pipeline.1.scale=32',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=1',
)


class TestConfig:
    def test_missing_file(self, error_of):
        message = error_of(config='configs/gone.py')
        assert message == 'There is no config configs/gone.py. configs/metafile.yml lists the configs of this project.'

    def test_option_without_value(self, error_of):
        message = error_of(options=['model.adv_weight', '3'])
        assert message == '--cfg-options takes KEY=VALUE, as in model.adv_weight=0.5, but got model.adv_weight 3.'

    @pytest.mark.parametrize('option', ['train_dataloader.dataset.pipeline.9.scale=3', 'train_cfg.max_epochs.x=3'])
    def test_option_that_does_not_fit(self, error_of, option):
        assert f'{option} does not fit the config: ' in error_of(options=[option])

    def test_auto_scale_lr_without_a_base(self, error_of):
        message = error_of('--auto-scale-lr', options=['auto_scale_lr=None'])
        assert message == '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.'

    @pytest.mark.parametrize(
        ('field', 'kind', 'known'),
        [
            (
                'backbone.adapters',
                'adapter',
                'bottleneck, cls_token, lora, norm, parallel_mlp, patch_embed, pos_embed, prompt',
            ),
            ('distance', 'distance', 'cosine, kl, l1, l2'),
            ('decoder', 'decoder', 'shared, split_norm, two_heads'),
            ('attack_mask', 'attack_mask', 'none, resampled, same'),
            ('attack_precision', 'attack_precision', 'auto, bfloat16, float32'),
            ('adv_target', 'adv_target', 'adv, clean'),
            ('data_preprocessor.start', 'start', 'gaussian, uniform, zero'),
        ],
    )
    def test_unknown_name_lists_the_known_ones(self, error_of, field, kind, known):
        assert error_of(options=[f'model.{field}=lore']) == f"Unknown {kind} 'lore'. Known: {known}."

    @pytest.mark.parametrize(
        ('option', 'expected'),
        [
            ('data_preprocessor.eps=-2', 'eps is in pixels, 0-255, but got -2.'),
            ('data_preprocessor.eps=256', 'eps is in pixels, 0-255, but got 256.'),
            ('data_preprocessor.eps=0.0314', 'but got 0.0314. For a fraction such as 8/255, pass 8.'),
            ('data_preprocessor.steps=-1', 'steps is a whole number >= 0, but got -1.'),
            ('adv_weight=-1', 'adv_weight is a number >= 0, or points [(progress, '),
            ('adv_share=0', 'adv_share is in (0, 1], but got 0.'),
            (
                'adapters=norm',
                'This backbone chooses its own adapters. Set model.backbone.adapters, and leave model.adapters out.',
            ),
            ('data_preprocessor.type=SelfSupDataPreprocessor', "Set data_preprocessor=dict(type='AdvDataPreprocessor'"),
        ],
    )
    def test_value_out_of_range(self, error_of, option, expected):
        options = [f'model.{option}']
        if 'type=' in option:
            options += ['model.data_preprocessor._delete_=True', 'model.data_preprocessor.mean=[73.0]']
            options += ['model.data_preprocessor.std=[90.0]']
        assert expected in error_of(options=options)

    @pytest.mark.parametrize(
        ('field', 'near'),
        [
            ('model.adv_wieght', 'adv_weight'),
            ('model.backbone.archh', 'arch'),
            ('model.data_preprocessor.epsilon', 'eps'),
        ],
    )
    def test_field_that_nothing_takes(self, error_of, field, near):
        assert re.search(f'{field}: .* takes no such field. Did you mean {near}', error_of(options=[f'{field}=3']))

    @pytest.mark.parametrize('option', ['model.backbone.img_size=30', 'train_dataloader.dataset.pipeline.0.scale=30'])
    def test_image_that_is_not_a_whole_number_of_patches(self, error_of, option):
        message = error_of(options=[option])
        assert message.startswith('An image of 30x30 pixels is not a whole number of 7x7 patches. Change the crop or')

    def test_image_of_another_size_than_the_decoders(self, error_of):
        message = error_of(options=['train_dataloader.dataset.pipeline.0.scale=35'])
        assert 'built for 4x4 patches, but the images have 25. Set img_size of backbone and neck' in message


class TestData:
    @pytest.mark.parametrize(
        ('config', 'kind', 'layout'),
        [
            (IMAGENET, 'ImageNet', '{train,val}/<class>/*.JPEG with 1000 classes'),
            (FOLDER, 'UnlabelledFolder', 'any/depth/*.jpg'),
            (runs.AEMIM, 'DemoFashionMNIST', 'train-images-idx3-ubyte and the three files beside it'),
        ],
    )
    def test_missing_data_root(self, error_of, tmp_path, config, kind, layout):
        message = error_of('--data-root', tmp_path / 'gone', config=config, shrunk=())
        assert message.startswith(f'There is no data folder {tmp_path}/gone ({kind}, data_root=')
        assert message.endswith(
            f' Expected in the data root: {layout}. Put the data there, or name the folder with --data-root DIR.'
        )

    def test_data_root_of_the_config_itself(self, error_of, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        message = error_of(config=IMAGENET, shrunk=())
        assert f'There is no data folder {tmp_path}/data/imagenet (ImageNet' in message

    def test_imagenet_without_its_folders(self, error_of, tmp_path):
        (tmp_path / 'data').mkdir()
        message = error_of('--data-root', tmp_path / 'data', config=IMAGENET, shrunk=())
        assert f'There is no data folder {tmp_path}/data/train (ImageNet' in message and '--data-root DIR' in message
        (tmp_path / 'data/train/cats').mkdir(parents=True)
        message = error_of('--data-root', tmp_path / 'data', config=IMAGENET, shrunk=())
        assert f'{tmp_path}/data/train has 1 class folders, not 1000' in message
        assert message.endswith('For other images, use configs/aemim_vit-b_folder.py.')

    def test_empty_folder(self, error_of, tmp_path):
        (tmp_path / 'data/inside').mkdir(parents=True)
        (tmp_path / 'data/notes.txt').touch()
        message = error_of('--data-root', tmp_path / 'data', config=FOLDER, shrunk=SMALL)
        assert message.startswith(f'There is no image in {tmp_path}/data. Looked, at any depth, for .jpg, ')
        assert 'saw 1 other files (most: 1 .txt)' in message and '--data-root DIR' in message

    def test_fewer_images_than_a_batch(self, error_of):
        message = error_of(options=['train_dataloader.dataset.limit=8'])
        assert 'The training data, 8 images, do not fill one batch of 16' in message
        assert 'train_dataloader.batch_size=N' in message

    def test_only_broken_images_through_a_worker_process(self, error_of, tmp_path):
        (tmp_path / 'data').mkdir()
        for number in range(3):
            (tmp_path / f'data/{number}.jpg').write_bytes(b'junk')
        message = error_of('--data-root', tmp_path / 'data', config=FOLDER, shrunk=SMALL)
        assert '\n' not in message
        assert f'3 of the 3 images in {tmp_path}/data are known to be unreadable' in message
        assert message.endswith('--data-root DIR.')

    def test_a_few_broken_images_are_skipped_and_counted(self, tmp_path):
        (tmp_path / 'data').mkdir()
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f'data/{number}.jpg')
        whole = (tmp_path / 'data/0.jpg').read_bytes()
        (tmp_path / 'data/0.jpg').write_bytes(whole[: len(whole) // 2])
        (tmp_path / 'data/1.jpg').write_bytes(b'junk')
        runs.train(FOLDER, tmp_path / 'work', '--data-root', tmp_path / 'data', shrunk=SMALL)
        assert (tmp_path / 'work/epoch_1.pth').is_file()
        assert 'Skipped 2 unreadable or truncated of 4 images so far' in runs.log_of(tmp_path / 'work')
        listed = (tmp_path / 'work/unreadable_images.txt').read_text().splitlines()
        assert listed == [f'{tmp_path}/data/0.jpg', f'{tmp_path}/data/1.jpg']


@pytest.mark.slow
def test_the_script_itself_prints_one_line_and_exits_with_two():
    environment = {**os.environ, 'PYTHONPATH': str(runs.REPO), 'PYTHONWARNINGS': 'ignore'}
    command = [sys.executable, runs.REPO / 'tools/train.py', runs.AEMIM, '--data-root', '/nowhere']
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert '/nowhere' in line and done.stderr.rstrip().endswith(line)
