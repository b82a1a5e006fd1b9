"""tools/export.py on a checkpoint of tools/train.py."""

import pytest
import torch
from helpers import runs
from helpers.encoders import assert_close
from mmengine.config import Config
from mmpretrain.registry import MODELS
from safetensors.torch import load_file


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The demo's model after one epoch, and its checkpoint."""
    work_dir = tmp_path_factory.mktemp('demo')
    runs.train(runs.AEMIM, work_dir)
    config = Config.fromfile(next(work_dir.glob('*.py')))
    model = MODELS.build(config.model)
    model.load_state_dict(runs.weights(work_dir / 'epoch_1.pth'), strict=True)
    return model.eval(), work_dir / 'epoch_1.pth'


@pytest.fixture
def export(capsys):
    def export(*argv):
        capsys.readouterr()
        runs.run('export.py', *argv)
        return capsys.readouterr().out

    return export


def failing(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        runs.run('export.py', *argv)
    error = capsys.readouterr().err
    assert end.value.code == 2 and 'Traceback' not in error and error.count('error:') == 1
    return error


@torch.no_grad()
def test_a_trained_model_in_timm(trained, export, tmp_path):
    timm = pytest.importorskip('timm')
    model, checkpoint = trained
    shown = export(checkpoint, '--to', 'timm', '--out', tmp_path / 'x.safetensors')
    assert 'left out, an adapter of the adversarial domain: ' in shown and 'message_hub' in shown
    vit = timm.models.VisionTransformer(
        img_size=28, patch_size=7, in_chans=1, embed_dim=192, depth=2, num_heads=6, num_classes=0, global_pool='token'
    )
    vit.load_state_dict(load_file(tmp_path / 'x.safetensors'), strict=True)
    images = torch.randn(2, 1, 28, 28)
    assert_close(vit.eval().forward_features(images), model.backbone(images, mask=None)[-1])


@torch.no_grad()
def test_a_trained_model_in_transformers(trained, export, tmp_path, monkeypatch):
    transformers = pytest.importorskip('transformers')
    transformers.utils.logging.set_verbosity_error()
    model, checkpoint = trained
    shown = export(checkpoint, '--to', 'huggingface', '--out', tmp_path / 'hf', '--domain', 'adv')
    assert 'an adapter of the clean domain' in shown
    vit = transformers.ViTMAEForPreTraining.from_pretrained(tmp_path / 'hf').eval()
    from aemim_mm import Domain, use_domain

    images = torch.randn(2, 1, 28, 28)
    torch.manual_seed(0)
    noise = torch.rand(2, 16)
    torch.manual_seed(0)
    monkeypatch.setattr(model.neck, 'predict_visible', True)
    with use_domain(model, Domain.ADV):
        latent, _, restore = model.backbone(images)
        assert_close(vit(images, noise=noise).logits, model.neck(latent, restore))


def test_start_from_published_weights(trained, export, tmp_path):
    """Export to the names of facebookresearch/mae, convert back, and start tools/train.py from the result."""
    export(trained[1], '--to', 'mae', '--out', tmp_path / 'mae.pth')
    export(tmp_path / 'mae.pth', '--to', 'aemim', '--num-heads', 6, '--out', tmp_path / 'x.safetensors')
    options = [f'load_from={tmp_path / "x.safetensors"}', 'optim_wrapper.optimizer.lr=0']
    runs.train(runs.AEMIM, tmp_path / 'work', options=[*options, 'param_scheduler=None'])
    before, after = trained[0].state_dict(), runs.weights(tmp_path / 'work/epoch_1.pth')
    clean = {name for name in before if not name.endswith('_adv')}
    assert all(torch.equal(before[name], after[name]) for name in clean)
    # Missing adversarial adapters start from the clean ones.
    name = 'backbone.layers.1.ln2.weight'
    assert torch.equal(after[f'{name}_adv'], before[name]) and not torch.equal(before[f'{name}_adv'], before[name])


def test_a_trained_model_in_onnx(trained, export, tmp_path, capsys):
    shown = export(trained[1], '--to', 'onnx', '--out-type', 'avg_featmap', '--out', tmp_path / 'x.onnx')
    assert 'opset 17; images (N, 1, 28, 28), float32, to features (N, 192), avg_featmap; onnxruntime ' in shown
    assert (tmp_path / 'x.onnx').stat().st_size > 2**20
    assert '--out-type is of --to onnx' in failing(capsys, trained[1], '--to', 'timm', '--out-type', 'raw')


def test_one_clear_error(trained, capsys, tmp_path):
    assert 'There is no checkpoint gone.pth' in failing(capsys, 'gone.pth', '--to', 'timm')
    torch.save([1, 2], tmp_path / 'x.pth')
    assert 'holds a list' in failing(capsys, tmp_path / 'x.pth', '--to', 'timm')
    (tmp_path / 'y.safetensors').write_bytes(b'no such thing')
    assert 'cannot be read' in failing(capsys, tmp_path / 'y.safetensors', '--to', 'timm')
    message = failing(capsys, trained[1], '--to', 'vitdet', '--img-size', 30, '--out', tmp_path / 'z.pth')
    assert 'An image of 30x30 pixels is not a whole number of 7x7 patches' in message
    assert 'one or two numbers' in failing(capsys, trained[1], '--to', 'timm', '--img-size', 1, 2, 3)
    assert not list(tmp_path.glob('z*'))


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (exec, (f'open({str(self.mark)!r}, "w").close()',))


def test_a_pickle_that_runs_code_is_refused_unless_trusted(trained, capsys, export, tmp_path):
    mark, path = tmp_path / 'ran', tmp_path / 'x.pth'
    torch.save(dict(state_dict=trained[0].state_dict(), meta=Malicious(mark)), path)
    assert '--trust-checkpoint' in failing(capsys, path, '--to', 'timm')
    assert not mark.exists()
    export(path, '--to', 'timm', '--num-heads', 6, '--trust-checkpoint')
    assert mark.exists()
