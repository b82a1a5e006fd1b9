"""Draw the first picture of the README: pre-train a small ViT by AEMIM on four photographs, then draw panels of them.

Example:
    python tools/visualization/photograph_panels.py

An interrupted training is resumed. The photographs are in the package scikit-image: nothing is downloaded.
"""

import argparse
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
CONFIG = Path(__file__).with_name('photographs.py')
PHOTOGRAPHS = ('astronaut', 'chelsea', 'coffee', 'rocket')


def save_photographs(folder: Path) -> list[Path]:
    """Write the central square of each photograph as PNG, and return the paths."""
    import skimage.data
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        Image.fromarray(image[top : top + side, left : left + side]).save(folder / f'{name}.png')
    return [folder / f'{name}.png' for name in PHOTOGRAPHS]


def draw(checkpoint: Path, photographs: list[Path], picture: Path, seed: int) -> None:
    """Write the panels of whole photographs as one PNG; ``seed`` decides on the masks."""
    import numpy as np
    import torch
    from PIL import Image

    from aemim_mm.apis.pretrained import build_model
    from aemim_mm.datasets.loading import read_image
    from aemim_mm.visualization.panels import draw_panels, panel_columns, panel_rows

    model = build_model(CONFIG, checkpoint)
    size = model.backbone.img_size
    images = [np.asarray(read_image(path).resize(size[::-1], Image.Resampling.BICUBIC)) for path in photographs]
    # As mmcv reads files: BGR, channels first.
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).flip(1)
    torch.manual_seed(seed)
    rows = panel_rows(model, model.data_preprocessor(dict(inputs=pixels, data_samples=None))['inputs'])
    Image.fromarray(draw_panels(rows, panel_columns(model), size=size[1])).save(picture, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/photographs'), help='where everything goes')
    parser.add_argument('--picture', type=Path, default=TOOLS.parent / 'docs/panels.png', help='the PNG to write')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as in tools/train.py')
    args = parser.parse_args()
    photographs = save_photographs(args.work_dir / 'photographs')
    command = [sys.executable, TOOLS / 'train.py', CONFIG, '--data-root', photographs[0].parent]
    command += ['--work-dir', args.work_dir, '--resume']
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    subprocess.run([*map(str, command), *options], check=True)
    checkpoint = Path((args.work_dir / 'last_checkpoint').read_text().strip())
    draw(checkpoint, photographs, args.picture, args.seed)
    print(f'Written to {args.picture}, from {checkpoint}.')


if __name__ == '__main__':
    main()
