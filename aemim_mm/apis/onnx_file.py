"""Write an encoder as an ONNX file. ``tools/export.py CKPT --to onnx`` calls :func:`export_onnx`."""

import io
import json
import warnings
from os import PathLike
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.utils import digit_version
from mmpretrain.models.utils.attention import ShiftWindowMSA

from ..checkpoints.files import write_whole
from ..errors import UserError
from ..export import ExportReport, read_source
from ..export.convert import output_path
from ..export.files import refuse_overwriting
from ..export.sizes import resize
from .encoder import Encoder

OPSET = 17
TOLERANCE = 1e-4  # Of the largest feature, and at least of 1.
LARGEST = 2**31 - 2**24  # Bytes of the weights; a message of protobuf has at most 2 GiB, with the computation.


def export_onnx(
    path: str | PathLike,
    *,
    domain: str = 'clean',
    out: str | PathLike | None = None,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | tuple[int, int] | None = None,
    out_type: str | None = None,
    num_heads: int | None = None,
    force: bool = False,
    trusted: bool = False,
) -> ExportReport:
    """Write the encoder of a checkpoint as an ONNX file, once onnxruntime has computed the same features with it.

    Its input is ``images``, float32, (N, C, H, W), normalised, and its output ``features``. The number of images is
    free, their size is not. The metadata of the file hold mean and standard deviation in pixels 0-255.

    Args:
        path, domain, img_size, patch_size, num_heads, trusted: As in ``aemim_mm.export.export``.
        out: A file that ends in .onnx. Default: beside the checkpoint.
        out_type: Kind of features, as in ``load_encoder``.
        force: Replace an existing file.

    Returns:
        What was written.

    Raises:
        UserError: onnx or onnxruntime is missing, the checkpoint cannot be read, the output exists already, the encoder
            is too large for a file, or the features differ by more than 1e-4.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--to onnx needs {error.name}: pip install 'aemim-mm[onnx]', or onnx and onnxruntime."
        ) from error
    out = output_path(str(path), 'onnx', domain, img_size, patch_size) if out is None else Path(out)
    if out.suffix != '.onnx':
        raise UserError(f'--out of --to onnx ends in .onnx, but got {out}.')
    refuse_overwriting([out], force)
    source = read_source(path, domain=domain, num_heads=num_heads, trusted=trusted)
    resized = resize(source.state, source.spec, img_size, patch_size)
    encoder = Encoder(source.state, source.spec, out_type)
    weights = encoder.state_dict()
    if (size := sum(value.nbytes for value in weights.values())) > LARGEST:
        raise UserError(f'An ONNX file holds at most 2 GiB, but the weights of {path} have {size / 2**30:.1f} GiB.')
    spec = source.spec
    metadata = {**spec.stored(), 'domain': domain, 'out_type': encoder.out_type, 'source': Path(path).name}
    model = onnx.load_from_string(_traced(encoder))
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    content = model.SerializeToString()
    difference, shape = _compared(encoder, content)
    write_whole(out, content)
    notes = [
        f'opset {OPSET}; images (N, {spec.in_channels}, {", ".join(map(str, spec.img_size))}), float32, to features '
        f'(N, {", ".join(map(str, shape))}), {encoder.out_type}; onnxruntime differs from torch by {difference:.1e}',
        'the checkpoint does not say how images were normalised'
        if spec.mean is None
        else f'normalise pixels 0-255 with mean {spec.mean} and std {spec.std}'
        + (', in the order blue, green, red' if spec.in_channels == 3 and not spec.to_rgb else ''),
    ]
    others = [name for name in source.state if name not in weights]
    left_out = {**source.left_out, **resized, **dict.fromkeys(others, 'the file has the encoder alone')}
    return ExportReport(out, spec, source.layout, 'onnx', domain, len(weights), left_out, notes)


def _compared(encoder: Encoder, content: bytes) -> tuple[float, torch.Size]:
    """Return by how much the features of onnxruntime differ from torch's, and the shape of an image's features."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    images = _images(encoder, 3)
    expected = encoder(images)
    (found,) = session.run(None, {'images': images.numpy()})
    difference = (torch.from_numpy(found) - expected).abs().max().item()
    if not difference <= TOLERANCE * max(expected.abs().max().item(), 1):
        raise UserError(
            f'The features of onnxruntime {onnxruntime.__version__} differ by {difference:.1e}, which is more than '
            f'{TOLERANCE:.0e} of the largest. Nothing was written. Please report it, with tools/doctor.py --report.'
        )
    return difference, expected.shape[1:]


def _images(encoder: Encoder, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, encoder.in_channels, *encoder.img_size, generator=generator)


def _window_reverse(windows: torch.Tensor, height: int, width: int, size: int) -> torch.Tensor:
    """As of mmpretrain's Swin, but the number of images stays free; there, tracing makes a constant of it."""
    windows = windows.view(-1, height // size, width // size, size, size, windows.shape[-1])
    return windows.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _traced(encoder: Encoder) -> bytes:
    """Return an encoder as the bytes of an ONNX file."""
    # From torch 2.5 on, there is another exporter, which needs onnxscript.
    settings: dict[str, Any] = dict(dynamo=False) if digit_version(torch.__version__) >= digit_version('2.5.0') else {}
    stream: Any = io.BytesIO()
    with warnings.catch_warnings(), patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(_window_reverse)):
        # They are about Python values that depend on the size of images, which is fixed.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            encoder,
            (_images(encoder, 2),),
            stream,
            input_names=['images'],
            output_names=['features'],
            dynamic_axes={'images': {0: 'N'}, 'features': {0: 'N'}},
            opset_version=OPSET,
            **settings,
        )
    return stream.getvalue()
