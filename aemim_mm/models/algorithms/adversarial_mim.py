"""Adversarial masked image modeling: any MIM algorithm, run twice. START READING HERE.

    x_a   = argmax over ||x_a - x||_inf <= eps  of  L_d( E(m(x_a); psi + phi_a),  stopgrad E(m(x); psi + phi_c) )
    loss  = L_rec( D(E(m(x);   psi + phi_c)),  x   )
          + w * L_rec( D(E(m(x_a); psi + phi_a)),  x_a )

Source: AEMIM, arXiv 2407.11537.
"""

from contextlib import contextmanager

import torch
from torch.profiler import record_function

from ...adapters import sync_adapters
from ...attacks import feature_distance
from ...domain import Domain, use_domain
from ...replay import Pass
from ..diagnosis import check_finite
from ..early_backward import can_take_gradients, take_gradients
from ..modes import only_inputs_need_gradients
from ..objectives import objective_of
from ..precision import attack_precision
from ..schedule import Schedule
from .construction import check_arguments, name_of_layer, split_decoder, split_encoder
from .records import Attack, TwoPasses
from .seams import Algorithm


class AdversarialMIM(Algorithm):
    """Mixin over a mmpretrain MIM algorithm. It adds the reconstruction of masked adversarial examples.

    The algorithm's ``loss`` runs first on the images. It then runs in the ADV domain on adversarial examples of them,
    with the same random numbers and hence the same mask. Each choice that the paper leaves open is an argument.

    Args:
        adapters: What the adversarial domain has of its own in the encoder: see ``split_adapters``. Default: keep the
            backbone's own adapters; if it has none, split norms and class token. ``()``: nothing.
        decoder: ``two_heads`` (one prediction layer for each domain), ``shared``, or ``split_norm`` (``two_heads``,
            and the decoder's normalisation layers are split too).
        decoder_adapters: As ``adapters``, for the decoder.
        distance: The distance between features that the attack maximises: ``l2`` (squared), ``l1``, ``cosine``, ``kl``.
        attack_objective: What the attack maximises: the distance between ``features``, or between their means over
            tokens (``pooled``), or the ``reconstruction`` loss, from which the paper advises.
        attack_mask: The mask that the attack sees: the ``same`` as in training, ``resampled`` at each step, or ``none``
            (the whole image).
        attack_precision: ``auto`` (the training's precision, but float32 if that is float16), ``float32`` or
            ``bfloat16``.
        attack_layers: Number of the encoder's first layers that the attack runs, >= 1: its features are the output of
            the last of them. The logged objective is the distance of these features. Default: the whole encoder.
        adv_target: What the adversarial branch reconstructs: ``adv`` (the adversarial image) or ``clean`` (denoising).
            Default: ``adv``; ``clean`` for methods that predict tokens.
        adv_weight: Weight of the adversarial loss, >= 0: a number, or points ``[(progress, weight), ...]`` with
            progress from 0 to 1 and straight lines between them.
        adv_share: Share of the batch that is attacked, in (0, 1]. Below 1, an algorithm that draws its masks itself
            (MAE) draws new masks for the attacked images. Masks that come with the data (SimMIM) stay.
        early_backward: Compute the gradients of the clean pass before the attack, which frees its activations. The
            gradients are the same, but ``backward(retain_graph=True)`` cannot be called twice.
        **kwargs: Arguments of the algorithm. ``data_preprocessor`` is an ``AdvDataPreprocessor``.

    Raises:
        UserError: An unknown name, or a value out of its range.
    """

    def __init__(
        self,
        *args,
        adapters: str | dict | tuple | list | None = None,
        decoder: str = 'two_heads',
        decoder_adapters: str | dict | tuple | list = (),
        distance: str = 'l2',
        attack_objective: str = 'features',
        attack_mask: str = 'same',
        attack_precision: str = 'auto',
        attack_layers: int | None = None,
        adv_target: str | None = None,
        adv_weight: float | tuple | list = 1.0,
        adv_share: float = 1.0,
        early_backward: bool = True,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.adv_target = self.default_target if adv_target is None else adv_target
        chosen = dict(adv_target=self.adv_target, attack_mask=attack_mask, attack_precision=attack_precision)
        chosen.update(decoder=decoder, attack_objective=attack_objective)
        check_arguments(self.data_preprocessor, adv_share, attack_layers, **chosen)
        pooled, per_image = attack_objective == 'pooled', getattr(self.data_preprocessor, 'halving', False)
        self.distance = feature_distance(distance, pooled, per_image)
        self.attack_mask, self.attack_precision, self.attack_objective = attack_mask, attack_precision, attack_objective
        self.attack_layer = name_of_layer(self.backbone, attack_layers)
        self.adv_share = adv_share
        self.early_backward = early_backward
        self.weight_schedule = Schedule('adv_weight', adv_weight)
        split_encoder(self.backbone, adapters)
        split_decoder(self, decoder, decoder_adapters, self.prediction_layer)

    def init_weights(self) -> None:
        """Initialise the algorithm's weights. Both domains start equal."""
        super().init_weights()
        sync_adapters(self)

    @property
    def adv_weight(self) -> float:
        """The weight of the adversarial loss at this moment of training."""
        return self.weight_schedule.now()

    def loss(self, inputs: torch.Tensor | list, data_samples: list | None, **kwargs) -> dict:
        """Reconstruct the images and adversarial examples of them.

        Args:
            inputs: Normalised images, (B, C, H, W), or a list of views of them.
            data_samples: One for each image.

        Returns:
            ``loss_clean``, ``loss_adv`` (weighted), the figures of ``Attack.log``, and the algorithm's own figures.
        """
        step = self.two_passes(inputs, data_samples, self.adv_share, **kwargs)
        losses = dict(loss_clean=step.clean.loss, loss_adv=self.adv_weight * step.adv.loss)
        return dict(**losses, **step.attack.log(), **step.clean.log)

    def two_passes(self, inputs, data_samples, share=1.0, **kwargs) -> TwoPasses:
        """Run the clean pass, the attack on its features, and the adversarial pass.

        Args:
            inputs, data_samples: As in :meth:`loss`.
            share: Share of the images that is attacked, in (0, 1]; they are the first of the batch.
        """
        # 1. The algorithm's own loss. Its encoder call and its random numbers are recorded.
        with record_function('aemim::clean'):
            clean = Pass(super().loss, self, inputs, data_samples, **kwargs)
            give_clean_loss = self._early_gradients(clean.loss)

        # 2. Images whose features, under the same mask, are as far from the clean ones as the budget allows.
        with record_function('aemim::attack'):
            attacked = self._attacked_share(clean, share)
            attack = self.attack(attacked)

        # 3. The same loss of those images, in the ADV domain.
        with record_function('aemim::adversarial'), use_domain(self, Domain.ADV):
            adv = self.adversarial_pass(attacked, attack.x_adv)

        check_finite(self, clean, adv)
        with torch.no_grad(), self._attacking(attacked.images):
            attack.observe_end(adv)
        clean.loss = give_clean_loss()
        return TwoPasses(clean, adv, attack)

    def attack(self, clean: Pass) -> Attack:
        """Make adversarial examples against the encoder's features; the reconstruction loss takes no part.

        Args:
            clean: The clean pass over the images to attack.
        """
        images = clean.images
        with self._attacking(images):
            attack = Attack(objective_of(self, clean), images, zero_grad=images.new_zeros(()))
            attack.x_adv = self.data_preprocessor.perturb(images, attack.objective, observe=attack.observe)
        return attack

    @contextmanager
    def _attacking(self, images):
        """Inside, the model computes as the attack sees it."""
        precision = attack_precision(self.attack_precision, images.device.type)
        with use_domain(self, Domain.ADV), only_inputs_need_gradients(self), precision:
            yield

    def _attacked_share(self, clean: Pass, share: float) -> Pass:
        """The clean pass over the images that are attacked.

        The clean pass over the whole batch stays one, and the encoder alone runs once more on these images. That is
        cheaper than two clean passes over parts of the batch, and gives masks that belong to these images alone.
        """
        count = max(round(share * len(clean.images)), 1)
        if count == len(clean.images):
            return clean
        with torch.no_grad(), only_inputs_need_gradients(self):
            return clean.first(count)

    def _early_gradients(self, loss):
        """Take the gradients of ``loss`` now, if possible; return a function that gives ``loss`` back."""
        if self.early_backward and can_take_gradients(loss, self):
            with record_function('aemim::early_backward'):
                return take_gradients(loss, self.parameters())
        return lambda: loss
