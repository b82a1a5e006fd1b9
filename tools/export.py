"""Write the encoder of a checkpoint for another library, or convert an encoder of another library for this project.

Run:       python tools/export.py work_dirs/aemim_vit-b_800e/epoch_800.pth --to timm
           python tools/export.py mae_pretrain_vit_base.pth --to aemim
Duration:  seconds

The names in the checkpoint tell its layout. See docs/export.md.
"""

import argparse

TARGETS = ('aemim', 'mmpretrain', 'timm', 'huggingface', 'mae', 'vitdet', 'onnx')
OUT_TYPES = ('cls_token', 'avg_featmap', 'featmap', 'raw')


def parse_args():
    parser = argparse.ArgumentParser(description='Write the encoder of a checkpoint for another library.')
    parser.add_argument('checkpoint', help='file, or folder with config.json, of any layout in docs/export.md')
    parser.add_argument('--to', required=True, choices=TARGETS, help='the library; mae is facebookresearch/mae')
    parser.add_argument(
        '--domain', choices=['clean', 'adv'], default='clean', help='whose norms and class token (default: clean)'
    )
    parser.add_argument(
        '--out',
        metavar='PATH',
        help='.safetensors or .pth file, a folder for huggingface, or .onnx file (default: beside the checkpoint)',
    )
    parser.add_argument(
        '--img-size',
        type=int,
        nargs='+',
        metavar='N',
        help='interpolate positions for images of this size: pixels, or height and width',
    )
    parser.add_argument('--patch-size', type=int, metavar='N', help='resize the embedding of patches, of a ViT; pixels')
    parser.add_argument('--out-type', choices=OUT_TYPES, help='onnx only: kind of features, as of load_encoder')
    parser.add_argument('--num-heads', type=int, metavar='N', help='attention heads, if the checkpoint does not say')
    parser.add_argument('--force', action='store_true', help='write over files that are there')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='run whatever code the checkpoint contains: only if you trust it',
    )
    args = parser.parse_args()
    if args.img_size and (len(args.img_size) > 2 or min(args.img_size) < 1):
        parser.error('--img-size takes one or two numbers of pixels')
    if args.patch_size is not None and args.patch_size < 1:
        parser.error('--patch-size is a number of pixels')
    if args.out_type and args.to != 'onnx':
        parser.error('--out-type is of --to onnx: in other layouts, the library that reads them chooses')
    return args


def main():
    args = parse_args()
    # Import late: this takes seconds, which --help does not need.
    from aemim_mm.apis.onnx_file import export_onnx
    from aemim_mm.export import export
    from aemim_mm.launch import one_clear_error

    settings = dict(
        domain=args.domain,
        out=args.out,
        img_size=args.img_size and (args.img_size[0] if len(args.img_size) == 1 else tuple(args.img_size)),
        patch_size=args.patch_size,
        num_heads=args.num_heads,
        force=args.force,
        trusted=args.trust_checkpoint,
    )
    with one_clear_error():
        if args.to == 'onnx':
            print(export_onnx(args.checkpoint, out_type=args.out_type, **settings))
        else:
            print(export(args.checkpoint, args.to, **settings))


if __name__ == '__main__':
    main()
