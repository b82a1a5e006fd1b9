"""Draw panels of training images: masked, attacked and reconstructed by a pre-training model of AEMIM.

Run:       python tools/visualization/reconstructions.py configs/aemim_vit-b_folder.py epoch_300.pth --data-root DIR
Duration:  seconds

The images go through the pipeline of the config. PanelHook draws the same panels during a training.
"""

import argparse
from pathlib import Path
from typing import Any

from encoder_arguments import check_picture


def main():
    parser = argparse.ArgumentParser(description='Draw panels of training images of a pre-training model of AEMIM.')
    parser.add_argument('config', help='config of a pre-training by AEMIM')
    parser.add_argument('checkpoint', help='checkpoint of this config')
    parser.add_argument('--rows', type=int, default=4, metavar='N', help='number of images (default: 4)')
    parser.add_argument('--seed', type=int, default=0, help='of images, crops and masks (default: 0)')
    parser.add_argument('--picture', type=Path, default=Path('panels.png'), help='(default: panels.png)')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    parser.add_argument('--data-root', metavar='DIR', help='as for tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py')
    args = parser.parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        draw(args)
    print(f'Written to {args.picture}.')


def draw(args):
    import torch
    from mmengine.runner import Runner, set_random_seed
    from PIL import Image

    from aemim_mm.apis.pretrained import build_adversarial_model
    from aemim_mm.attacks import check_whole
    from aemim_mm.launch import load_config
    from aemim_mm.visualization.panels import draw_panels_of

    check_whole('--rows', args.rows, 1)
    check_picture(args.picture)
    cfg = load_config(args.config, options=args.cfg_options, data_root=args.data_root)
    model: Any = build_adversarial_model(cfg, args.checkpoint, args.trust_checkpoint)
    loader: Any = Runner.build_dataloader(cfg.train_dataloader)
    set_random_seed(args.seed)
    chosen = torch.randperm(len(loader.dataset))[: args.rows].tolist()
    batch = model.data_preprocessor(loader.collate_fn([loader.dataset[index] for index in chosen]), False)
    picture = draw_panels_of(model, batch['inputs'], batch['data_samples'])
    Image.fromarray(picture).save(args.picture, optimize=True)


if __name__ == '__main__':
    main()
