"""LoRA is merged into the exported weights; other additions have no place in a stock model."""

import pytest
import torch
from helpers.encoders import assert_close, features, mae_config, randomized, saved
from helpers.tiny import build
from safetensors.torch import load_file

from aemim_mm import Domain, load_encoder, use_domain
from aemim_mm.checkpoints.fit import check_checkpoint
from aemim_mm.errors import UserError
from aemim_mm.export import export

LORA = dict(type='lora', rank=2, alpha=3, targets=('qkv', 'fc2'))


def checkpoint_of(folder, adapters):
    config = mae_config(backbone=dict(adapters=adapters))
    model = randomized(build(config))
    return model, saved(model, config, folder / 'epoch_1.pth')


@pytest.mark.parametrize('domain', ['clean', 'adv'])
@pytest.mark.parametrize('adapters', [['norm', dict(LORA, both=True)], [dict(LORA, both=True), 'pos_embed']])
def test_an_exported_encoder_computes_the_features_of_its_domain(adapters, domain, images, tmp_path):
    model, checkpoint = checkpoint_of(tmp_path, adapters)
    report = export(checkpoint, 'timm', out=tmp_path / 'timm.safetensors', domain=domain)
    with use_domain(model, Domain(domain)):
        expected = features(model, images)
    assert_close(load_encoder(report.path, out_type='raw')(images), expected)
    assert not any('lora' in name for name in load_file(report.path))
    assert (expected - features(model, images)).abs().max() > 0.1 or domain == 'clean'


def test_lora_of_the_adversarial_domain_alone_leaves_the_clean_export_as_it_is(images, tmp_path):
    model, checkpoint = checkpoint_of(tmp_path, [LORA])
    assert_close(load_encoder(checkpoint, out_type='raw')(images), features(model, images))
    report = export(checkpoint, 'aemim', out=tmp_path / 'clean.safetensors')
    assert sum('lora' in name for name in report.left_out) == 2 * 2 * 3


def test_what_cannot_be_merged_is_refused(tmp_path):
    _, checkpoint = checkpoint_of(tmp_path, [dict(type='bottleneck', width=4, both=True)])
    with pytest.raises(UserError, match=r'The clean domain .* has .*bottleneck_clean.* Train with both=False, or LoRA'):
        export(checkpoint, 'timm', out=tmp_path / 'clean.pth')
    with pytest.raises(UserError, match=r'The adversarial domain .* has .*bottleneck.*_adv.* Take --domain clean'):
        export(checkpoint, 'timm', out=tmp_path / 'adv.pth', domain='adv')


def test_a_model_without_the_clean_adapters_does_not_take_the_checkpoint(tmp_path):
    model, checkpoint = checkpoint_of(tmp_path, [dict(LORA, both=True)])
    assert not check_checkpoint(model, str(checkpoint), 'all').missing
    plain = build(mae_config())
    with pytest.raises(UserError, match='adapters of the clean domain, such as .*lora_clean.* Merge LoRA by tools'):
        check_checkpoint(plain, str(checkpoint))
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    assert len(check_checkpoint(model, str(tmp_path / 'plain.pth')).copied) == 2 * 2 * 2 * 3
