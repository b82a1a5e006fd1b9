"""A checkpoint that does not fit, is unreadable or holds something else is one clear error. No file is lost."""

import pickle

import pytest
import torch
from helpers import runs

NARROW = ('model.backbone.arch.embed_dims=96', 'model.neck.embed_dim=96')


class TestCheckpoint:
    def test_of_another_width(self, error_of, trained):
        message = error_of(options=[f'load_from={trained}/epoch_1.pth', *NARROW])
        head, fits, mismatched, fix = message.splitlines()
        assert head == (
            f'The checkpoint {trained}/epoch_1.pth is of another architecture than the model of this config:'
        )
        assert fits == '  23 tensors fit'
        assert mismatched.startswith('  40 mismatched: backbone.cls_token (1, 1, 192) for (1, 1, 96), ')
        assert mismatched.count('(1, 1, 192)') == 2 and mismatched.endswith(' and 32 more')
        assert fix.startswith('Choose a checkpoint and a config (arch, img_size, patch_size, decoder)')

    def test_of_another_depth(self, error_of, trained):
        load = f'load_from={trained}/epoch_1.pth'
        message = error_of(options=[load, 'model.backbone.arch.num_layers=3'])
        assert '  16 missing: backbone.layers.2.ln1.weight, ' in message and ' and 8 more' in message
        message = error_of(options=[load, 'model.backbone.arch.num_layers=1'])
        assert '  12 unused: backbone.layers.1.ln1.weight, ' in message and ' and 4 more' in message
        assert '  4 adversarial adapters left out' in message

    def test_to_resume_of_another_width(self, error_of, trained):
        content = (trained / 'epoch_1.pth').read_bytes()
        message = error_of('--resume', trained / 'epoch_1.pth', options=NARROW)
        assert '  40 mismatched: backbone.cls_token' in message
        assert message.endswith('use --cfg-options load_from=CHECKPOINT resume=False.')
        assert (trained / 'epoch_1.pth').read_bytes() == content

    def test_to_resume_of_the_baseline(self, error_of, tmp_path):
        runs.train(runs.MAE, tmp_path / 'mae')
        message = error_of('--resume', tmp_path / 'mae/epoch_1.pth')
        assert '  50 tensors fit\n  13 adversarial adapters start from the clean ones\n' in message
        assert message.endswith('use --cfg-options load_from=CHECKPOINT resume=False.')

    def test_to_resume_with_weights_alone(self, error_of, trained, tmp_path):
        torch.save(runs.weights(trained / 'epoch_1.pth'), tmp_path / 'weights.pth')
        message = error_of('--resume', tmp_path / 'weights.pth')
        assert message == (
            f'The checkpoint {tmp_path}/weights.pth holds weights, but not the state of a training to resume. To start '
            'from its weights, leave out --resume and use --cfg-options load_from=CHECKPOINT resume=False.'
        )

    def test_missing(self, error_of, tmp_path):
        assert error_of('--resume', tmp_path / 'gone.pth') == f'There is no checkpoint {tmp_path}/gone.pth.'
        assert error_of(options=[f'load_from={tmp_path}/gone.pth']) == f'There is no checkpoint {tmp_path}/gone.pth.'

    @pytest.mark.parametrize('kind', ['garbage', 'empty', 'truncated', 'pickle'])
    @pytest.mark.parametrize('resume', [True, False])
    def test_unreadable(self, error_of, trained, tmp_path, kind, resume):
        whole = (trained / 'epoch_1.pth').read_bytes()
        content = dict(
            garbage=b'junk' * 99, empty=b'', truncated=whole[: len(whole) // 2], pickle=pickle.dumps(['junk'])
        )
        path = tmp_path / 'bad.pth'
        path.write_bytes(content[kind])
        message = error_of('--resume', path) if resume else error_of(options=[f'load_from={path}'])
        words = 'is empty' if kind == 'empty' else 'cannot be read ('
        assert message.startswith(f'The checkpoint {path} {words}') and '\n' not in message
        assert message.endswith('Expected a whole file made by torch.save; take another one, or copy it again.')

    @pytest.mark.parametrize(('content', 'what'), [([1], 'a list'), (dict(model={}), "no weights, only 'model'")])
    def test_of_something_else(self, error_of, tmp_path, content, what):
        torch.save(content, tmp_path / 'else.pth')
        message = error_of(options=[f'load_from={tmp_path}/else.pth'])
        assert message == (
            f'The checkpoint {tmp_path}/else.pth holds {what}. Expected a file by mmengine, or a dict of names and '
            'tensors.'
        )

    @pytest.mark.parametrize(
        ('prefix', 'options', 'report'),
        [
            ('backbone.', NARROW, '39 mismatched: cls_token (1, 1, 192) for (1, 1, 96), '),
            ('encoder.', (), "holds no tensor whose name begins with 'encoder.', only "),
            (None, (), "init_cfg takes a prefix, such as 'backbone.'."),
        ],
    )
    def test_that_initialises_nothing(self, error_of, trained, prefix, options, report):
        init = ['type=Pretrained', f'checkpoint={trained}/epoch_1.pth', *([f'prefix={prefix}'] if prefix else [])]
        init = [f'model.backbone.init_cfg.{pair}' for pair in init]
        assert report in error_of(options=[*init, *options])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoints(error_of, trained, tmp_path):
    work_dir = tmp_path / 'work'
    runs.train(runs.AEMIM, work_dir)
    before = runs.weights(work_dir / 'epoch_1.pth')
    options = ['param_scheduler=None', 'optim_wrapper.optimizer.lr=1e30', 'optim_wrapper.type=OptimWrapper']
    message = error_of(options=[f'load_from={work_dir}/epoch_1.pth', *options], epochs=9, code=1)
    assert message.startswith('The loss is not finite at iteration 2 (loss_clean ')
    assert (
        'it began in backbone.' in message and 'The weights were not updated, and all checkpoints are kept' in message
    )
    after = runs.weights(work_dir / 'epoch_1.pth')
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(value.isfinite().all() for value in after.values())


def test_poisoned_weights_are_named(error_of, trained, tmp_path):
    state = runs.weights(trained / 'epoch_1.pth')
    state['backbone.layers.1.ln2.weight_adv'][3] = float('nan')
    torch.save(state, tmp_path / 'poisoned.pth')
    message = error_of(options=[f'load_from={tmp_path}/poisoned.pth'])
    assert 'poisoned.pth: the tensor backbone.layers.1.ln2.weight_adv has NaN or infinite values.' in message
