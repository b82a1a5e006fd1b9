"""A training step holds its contracts on shapes and budgets that hypothesis draws."""

import torch
from helpers import tiny as tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

SIDES = st.sampled_from([1, 2, 4, 7])
SETTINGS = st.fixed_dictionaries(
    {
        'patch': st.tuples(SIDES, SIDES),
        'grid': st.tuples(st.integers(1, 4), st.integers(2, 4)),
        'channels': st.sampled_from([1, 3]),
        'batch': st.integers(1, 3),
        'share_hidden': st.floats(0, 1),
        'budget': st.fixed_dictionaries(
            {
                'eps': st.one_of(st.just(0), st.floats(0.5, 32)),
                'steps': st.integers(0, 3),
                'start': st.sampled_from(['uniform', 'gaussian', 'zero']),
            }
        ),
        'choices': st.fixed_dictionaries(
            {
                'attack_mask': st.sampled_from(['same', 'resampled', 'none']),
                'adv_target': st.sampled_from(['adv', 'clean']),
                'decoder': st.sampled_from(['two_heads', 'shared', 'split_norm']),
                'distance': st.sampled_from(['l2', 'l1', 'cosine', 'kl']),
                'adv_share': st.floats(0.01, 1),
                'early_backward': st.booleans(),
                'neck': st.fixed_dictionaries({'decoder_depth': st.integers(1, 2), 'predict_visible': st.booleans()}),
            }
        ),
    }
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SETTINGS)
def test_a_step_trains_every_weight_within_the_budget(drawn):
    size = tuple(count * side for count, side in zip(drawn['grid'], drawn['patch']))
    length = drawn['grid'][0] * drawn['grid'][1]
    hidden = min(max(round(drawn['share_hidden'] * length), 1), length - 1)
    config = tiny_models.aemim_of_size(
        size,
        drawn['patch'],
        drawn['channels'],
        # Half a patch less avoids rounding.
        backbone=dict(mask_ratio=(hidden - 0.5) / length),
        data_preprocessor=drawn['budget'],
        head=dict(norm_pix=False),
        **drawn['choices'],
    )
    model, attacked = tiny_models.build(config), []
    perturb = model.data_preprocessor.perturb

    def spy(inputs, *args, **kwargs):
        attacked.append((inputs, perturb(inputs, *args, **kwargs)))
        return attacked[-1][1]

    model.data_preprocessor.perturb = spy
    losses = model.loss(tiny_models.images(model, drawn['batch'], size, drawn['channels']), None)
    model.parse_losses(losses)[0].backward()

    ((clean, x_adv),) = attacked
    pixels, adv_pixels = map(model.data_preprocessor.denormalize, (clean, x_adv))
    assert (adv_pixels - pixels).abs().max() <= drawn['budget']['eps'] + 1e-3
    assert adv_pixels.min() >= -1e-3 and adv_pixels.max() <= 255 + 1e-3
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    if drawn['choices']['attack_mask'] == 'same' and drawn['budget']['steps'] and drawn['budget']['eps']:
        assert losses['attack_zero_grad'] >= hidden / length - 1e-6
