"""Train with two processes on a folder of 100 files, some of them corrupt, through tools/train.py."""

from collections import Counter

import numpy as np
from helpers import faults, runs
from PIL import Image

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['aemim_mm', 'helpers.seen_images'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        arch=dict(embed_dims=48, num_layers=1, num_heads=3, feedforward_channels=96), patch_cfg=dict(in_channels=3)
    ),
    neck=dict(in_chans=3, embed_dim=48, decoder_embed_dim=48, decoder_num_heads=3),
    head=dict(in_channels=3),
    data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3),
)
pipeline = [dict(type='LoadWholeImage'), dict(type='RandomResizedCrop', scale=28), dict(type='PackInputs')]
dataset = dict(_delete_=True, type='UnlabelledFolder', data_root={root!r}, pipeline=pipeline)
train_dataloader = dict(batch_size=10, num_workers=2, dataset=dataset)
train_cfg = dict(max_epochs=2)
custom_hooks = [dict(type='UnreadableImagesHook'), dict(type='SeenImagesHook')]
"""


def make_folder(root):
    """90 good images and 10 bad files of four kinds, in ten folders; return the paths of both."""
    chance = np.random.default_rng(0)
    corrupt = set(chance.choice(100, size=10, replace=False).tolist())
    good, bad = set(), set()
    for number in range(100):
        path = root / f'{number % 10}/{number:03d}.{("jpg", "png")[number % 2]}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
        (bad if number in corrupt else good).add(str(path))
        if number in corrupt:
            content = path.read_bytes()
            broken = (b'', content[: len(content) // 2], chance.bytes(300), b'no image')
            path.write_bytes(broken[len(bad) % 4])
    return good, bad


def test_every_good_image_is_seen_in_each_epoch_and_the_corrupt_ones_are_counted(tmp_path):
    good, bad = make_folder(tmp_path / 'images')
    config = tmp_path / 'mixed.py'
    config.write_text(CONFIG.format(base=str(runs.AEMIM), root=str(tmp_path / 'images')))
    work = tmp_path / 'work'
    for process in faults.two_processes(work, options=['train_dataloader.batch_size=10'], config=config):
        assert process.wait() == 0, process.output()
    seen = [(work / f'seen_{rank}.txt').read_text().split() for rank in (0, 1)]
    for epoch in ('0', '1'):
        ranks = [[path for number, path in zip(words[::2], words[1::2]) if number == epoch] for words in seen]
        assert [len(paths) for paths in ranks] == [50, 50]
        counts = Counter(ranks[0] + ranks[1])
        # Each good image occurs once at its own index. Each corrupt one is replaced by a good one.
        assert set(counts) == good and len(good) == 90 and counts.total() - len(good) == len(bad) == 10
    assert set((work / 'unreadable_images.txt').read_text().splitlines()) == bad
    assert 'Skipped 10 unreadable or truncated of 100 images so far' in runs.log_of(work)
