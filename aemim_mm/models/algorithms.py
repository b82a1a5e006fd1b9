"""Adversarial masked image modeling: any MIM algorithm, run twice. START READING HERE.

    x_a   = argmax over ||x_a - x||_inf <= eps  of  L_d( E(m(x_a); psi + phi_a),  stopgrad E(m(x); psi + phi_c) )
    loss  = L_rec( D(E(m(x);   psi + phi_c)),  x   )
          + w * L_rec( D(E(m(x_a); psi + phi_a)),  x_a )

Source: AEMIM, arXiv 2407.11537.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Real

import torch
from mmpretrain.models import MAE, SimMIM
from mmpretrain.registry import MODELS

from ..adapters import SplitLayer, split_adapters, split_layer, sync_adapters
from ..attacks import feature_distance
from ..domain import Domain, use_domain
from ..errors import UserError, unknown_name
from ..replay import (
    RecordedRandomness,
    recorded_calls,
    run_until_call,
    substituted_argument,
)
from .diagnosis import non_finite_loss
from .early_backward import can_take_gradients, take_gradients
from .modes import only_inputs_need_gradients
from .objectives import OBJECTIVES
from .patches import patch_grid
from .precision import PRECISIONS, attack_precision
from .schedule import Schedule

CHOICES = {
    'decoder': ('two_heads', 'shared', 'split_norm'),
    'attack_mask': tuple(OBJECTIVES),
    'attack_precision': ('auto', *PRECISIONS),
    'adv_target': ('adv', 'clean'),
}


@dataclass
class TwoPasses:
    """What one step gives: both losses, the adversarial images, and the attack's diagnostics."""

    clean: torch.Tensor
    adv: torch.Tensor
    x_adv: torch.Tensor
    attack: dict


class AdversarialMIM:
    """Mixin over a mmpretrain MIM algorithm, which adds the reconstruction of masked adversarial examples.

    The algorithm's ``loss`` runs first on the images, then, in the ADV domain and with the same random numbers (hence
    the same mask), on adversarial examples of them. What the paper leaves open is a field here.

    Args:
        adapters: What each domain has of its own in the encoder; see ``split_adapters``. None: as the backbone has it,
            and ``('norm', 'cls_token')`` for a backbone that has none. Empty: as the backbone has it, so maybe none.
        decoder: ``two_heads`` (a prediction layer for each domain), ``shared``, or ``split_norm`` (two prediction
            layers, and two sets of the decoder's normalisation layers).
        distance: What the attack makes larger: ``l2`` (squared), ``l1``, ``cosine``, ``kl``.
        attack_mask: ``same`` as in training, ``resampled`` at each step, or ``none`` (the attack sees the whole image).
        attack_precision: ``auto`` (the training's, but float32 where that is float16), ``float32`` or ``bfloat16``.
        adv_target: What the adversarial branch reconstructs: ``adv`` (the adversarial image) or ``clean`` (denoising).
        adv_weight: Weight of the adversarial loss, >= 0: a number, or points ``[(progress, weight), ...]`` with
            progress from 0 to 1, linear in between.
        adv_share: Share of the batch that is attacked, in (0, 1]. Below 1, masks that the algorithm draws (MAE) are
            drawn anew for those images; masks that come with the data (SimMIM) stay.
        early_backward: Take the gradients of the clean pass before the attack, which frees its activations. The results
            are the same; only a second backward pass through one loss is refused.
        **kwargs: Of the algorithm. ``data_preprocessor`` is an ``AdvDataPreprocessor``.

    Raises:
        UserError: An unknown name or a value out of its range.
    """

    prediction_layer: str  # Of the neck: the layer of which there are two by default.

    def __init__(
        self,
        *args,
        adapters=None,
        decoder='two_heads',
        distance='l2',
        attack_mask='same',
        attack_precision='auto',
        adv_target='adv',
        adv_weight=1.0,
        adv_share=1.0,
        early_backward=True,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        chosen = dict(
            decoder=decoder, attack_mask=attack_mask, attack_precision=attack_precision, adv_target=adv_target
        )
        for name, got in chosen.items():
            if got not in CHOICES[name]:
                raise unknown_name(name, got, CHOICES[name])
        if not hasattr(self.data_preprocessor, 'perturb'):
            raise UserError(
                f'The data preprocessor is a {type(self.data_preprocessor).__name__}, which cannot perturb images. '
                "Set data_preprocessor=dict(type='AdvDataPreprocessor', ...)."
            )
        if not isinstance(adv_share, Real) or not 0 < adv_share <= 1:
            raise UserError(f'adv_share is in (0, 1], but got {adv_share!r}.')
        self.distance = feature_distance(distance)
        self.attack_mask, self.attack_precision = attack_mask, attack_precision
        self.adv_target, self.adv_share = adv_target, adv_share
        self.early_backward = early_backward
        self.weight_schedule = Schedule('adv_weight', adv_weight)

        is_split = any(isinstance(layer, SplitLayer) for layer in self.backbone.modules())
        if is_split and adapters is not None:
            raise UserError(
                'This backbone chooses its own adapters. Set model.backbone.adapters, and leave model.adapters out.'
            )
        adapters = ('norm', 'cls_token') if adapters is None else adapters
        if adapters and not is_split:
            split_adapters(self.backbone, adapters)
        if decoder != 'shared':
            split_layer(self.neck.get_submodule(self.prediction_layer), ('weight', 'bias'))
        if decoder == 'split_norm':
            split_adapters(self.neck, 'norm')

    def init_weights(self) -> None:
        """As the algorithm; then both domains are equal."""
        super().init_weights()
        sync_adapters(self)

    @property
    def adv_weight(self) -> float:
        """The weight of the adversarial loss at this moment of training."""
        return self.weight_schedule.now()

    def features(self, output) -> torch.Tensor:
        """The encoder's features after the final norm, from what the backbone returns."""
        return output[0] if isinstance(output, (tuple, list)) else output

    def loss(self, inputs, data_samples, **kwargs):
        """Reconstruct the images, and adversarial examples of them.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: One for each image.

        Returns:
            ``loss_clean``, ``loss_adv`` (weighted), and of the attack: the objective per image at its start and end,
            their ratio, and the share of gradient entries that are zero. (Hidden patches give no gradient, so with
            ``attack_mask='same'`` MAE's share is its mask ratio. A larger one is numerical underflow.)
        """
        count = max(round(self.adv_share * len(inputs)), 1)
        passes = self.two_passes(inputs, data_samples, count, **kwargs)
        return dict(loss_clean=passes.clean, loss_adv=self.adv_weight * passes.adv, **passes.attack)

    def two_passes(self, inputs, data_samples, count=None, **kwargs) -> TwoPasses:
        """The clean pass, the attack on its features, and the adversarial pass.

        Args:
            inputs, data_samples: As in :meth:`loss`.
            count: How many of the images, from the first on, are attacked. None: all.
        """
        algorithm_loss = super().loss
        randomness = clean_randomness = RecordedRandomness()

        def run_clean():
            return _total(algorithm_loss(inputs, data_samples, **kwargs))

        with recorded_calls(self.backbone) as calls:
            clean = run_clean()
        clean_again, call = self._free_graph(clean), calls[-1]
        images, samples = inputs, data_samples
        if count is not None and count < len(inputs):
            images, samples = inputs[:count], data_samples and data_samples[:count]
            # The clean pass stays whole, and the encoder goes once more over those that are attacked: cheaper than two
            # passes over parts of the batch, and the mask, where the algorithm draws it, is known for these alone.
            randomness = RecordedRandomness()
            with torch.no_grad(), only_inputs_need_gradients(self):
                again = partial(algorithm_loss, images, samples, **kwargs)
                call = run_until_call(self.backbone, again, len(calls))
        x_adv, start, end, zeros = self.attack(images, call)

        def run_adv():
            denoising = substituted_argument(self.head, 'loss', x_adv, images)
            with use_domain(self, Domain.ADV), randomness.replayed(), _when(self.adv_target == 'clean', denoising):
                return _total(algorithm_loss(x_adv, samples, **kwargs))

        with recorded_calls(self.backbone) as adv_calls:
            adv = run_adv()
        # This waits for the device once a step, as mmengine's logging does; later, the weights would be lost.
        if not torch.isfinite(clean + adv):
            passes = dict(clean=lambda: replay(clean_randomness, run_clean), adversarial=run_adv)
            raise non_finite_loss(self, dict(loss_clean=clean, loss_adv=adv), inputs, passes)
        if end is None:  # The adversarial pass has just computed it.
            with torch.no_grad():
                end = self.distance(self.features(adv_calls[-1].output), self.features(call.output)) / len(images)
        start = end if start is None else start
        gain = torch.where(start > 0, end / start, torch.zeros_like(start))
        attack = dict(attack_start=start, attack_end=end, attack_gain=gain, attack_zero_grad=zeros)
        return TwoPasses(clean_again(), adv, x_adv, attack)

    def _free_graph(self, loss):
        """A function that gives ``loss`` again; until then, its activations are freed where that is possible."""
        if self.early_backward and can_take_gradients(loss, self):
            return take_gradients(loss, self.parameters())
        return lambda: loss

    def attack(self, images, call):
        """Adversarial examples of ``images``, made against the encoder's features in ``call``, the clean pass.

        Returns:
            The examples; the objective per image at the start (None without steps), and at the end (None where it is
            that of the adversarial pass); the share of zeros in the last gradient.
        """
        seen = []

        def observe(value, gradient):
            seen.append((value / len(images), (gradient == 0).float().mean()))

        precision = attack_precision(self.attack_precision, images.device.type)
        with use_domain(self, Domain.ADV), only_inputs_need_gradients(self), precision:
            objective = OBJECTIVES[self.attack_mask](self, images, call)
            x_adv = self.data_preprocessor.perturb(images, objective, observe=observe)
            with torch.no_grad():
                end = None if self.attack_mask == 'same' else objective(x_adv) / len(images)
        start, zeros = (seen[0][0], seen[-1][1]) if seen else (None, images.new_zeros(()))
        return x_adv, start, end, zeros


@MODELS.register_module()
class AEMIM(AdversarialMIM, MAE):
    """AEMIM on MAE."""

    prediction_layer = 'decoder_pred'

    def mask_of(self, call):
        """The mask of a call of the backbone, (B, rows, columns), 1 = hidden."""
        return call.output[1].unflatten(1, patch_grid(call.args[0].shape[-2:], self.head.patch_size))

    def image_of(self, pred, images):
        """Predictions of the neck as images, (B, C, H, W), in normalised units."""
        return self.head.unpatchify(self.head.unnormalize(pred, images), images.shape[-2:])


@MODELS.register_module()
class AESimMIM(AdversarialMIM, SimMIM):
    """AEMIM on SimMIM, with Swin (``SimMIMSwinTransformer``) or ViT (``SimMIMViT``)."""

    prediction_layer = 'decoder.0'

    def mask_of(self, call):
        """The mask of a call of the backbone, (B, rows, columns), 1 = hidden."""
        return call.args[1]

    def image_of(self, pred, images):
        """Predictions of the neck as images, (B, C, H, W), in normalised units."""
        return pred


def replay(randomness, run):
    with randomness.replayed():
        return run()


def _total(losses: dict) -> torch.Tensor:
    return sum(value for name, value in losses.items() if 'loss' in name)


def _when(condition, context):
    return context if condition else nullcontext()
