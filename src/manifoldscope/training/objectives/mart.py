"""MART: adversarial training that minds which images are misclassified when clean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.calling import last_images
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.attacked import AttackedBySteps
from manifoldscope.training.objectives.objective import OBJECTIVES, TRAINING_PASS
from manifoldscope.training.objectives.trades import divergence
from manifoldscope.vision.network import Network


@OBJECTIVES.register("mart")
@dataclass(frozen=True, kw_only=True)
class MART(AttackedBySteps):
    """Boosted cross-entropy on images under PGD, plus a divergence weighted by clean errors (Wang et al. 2020).

    The mean over the batch of

        -log p_y(x') - log(1 - max over k != y of p_k(x')) + weight KL(p(x) || p(x')) (1 - p_y(x))

    for clean images x and attacked ones x' (equation 11): what is misclassified when clean has to agree most. The
    network is attacked in evaluation mode and trained in training mode.

    Attributes:
        epsilon: radius of the L-infinity ball in pixel units (pixels are in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value.
        steps: PGD steps for each batch; 10 in the paper.
        relative_step_size: step size as a share of epsilon; 2.5 / steps if omitted.
        weight: of the divergence; lambda in the paper.
    """

    weight: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise StudyError(f"weight = {self.weight}; expected a weight of at least 0, such as 5.0")

    @property
    def passes(self) -> float:
        return self.steps + 2 * TRAINING_PASS

    @property
    def training_passes(self) -> float:
        return 2 * TRAINING_PASS

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        images = last_images(self.pgd_at(progress), network, pixels, labels, generator)
        clean, attacked = network(pixels), network(images)
        missing = 1 - clean.softmax(1).gather(1, labels[:, None]).squeeze(1)
        return (boosted_cross_entropy(attacked, labels) + self.weight * missing * divergence(clean, attacked)).mean()


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(n,) -log p_y - log(1 - max over k != y of p_k), from logits (n, n_classes); finite for any of them."""
    others = logits.scatter(1, labels[:, None], -torch.inf).argmax(1, keepdim=True)
    all_but_best = logits.scatter(1, others, -torch.inf).logsumexp(1)  # 1 - p is the probability of all the rest
    return F.cross_entropy(logits, labels, reduction="none") + logits.logsumexp(1) - all_but_best
