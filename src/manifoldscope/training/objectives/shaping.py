"""What the objectives share that shape the class manifolds of a layer."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import StudyError
from manifoldscope.training.features import logits_and_features
from manifoldscope.training.objectives.objective import Objective, check_ramp, ramped
from manifoldscope.vision.layers import PENULTIMATE, Layer
from manifoldscope.vision.network import Network


@dataclass(frozen=True, kw_only=True)
class Shaping(Objective):
    """Cross-entropy on clean images, plus `strength` times a penalty on the activations of one layer.

    Attributes:
        strength: weight of the penalty; a positive one lowers it, a negative one raises it.
        layer: whose activations are shaped: "penultimate", or a module by name, with a way to pool its positions where
            it has some ("layer3 [mean]"); see `vision.Layer`.
        ramp: share of the training over which the strength grows from 0 to its value. At first activations are small,
            and the gradient of a penalty that does not change with their scale is then so large that a network can
            fail to learn its classes.
    """

    strength: float
    layer: str = PENULTIMATE
    ramp: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.strength):
            raise StudyError(f"strength = {self.strength}; expected a finite number; a negative one raises the penalty")
        check_ramp(self.ramp)
        if Layer.of(self.layer).is_pattern:
            raise StudyError(
                f"layer = {self.layer!r} is a pattern; expected one layer by name, such as {PENULTIMATE!r}"
            )
        if Layer.of(self.layer).pool == "positions":
            raise StudyError(f"layer = {self.layer!r}; expected one point per image, so another way to pool")

    @abstractmethod
    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        """A scalar, from the activations (n, n_features) of a batch, in float32 or better, and its labels (n,)."""

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        logits, features = logits_and_features(network, pixels, self.layer)
        with torch.autocast(features.device.type, enabled=False):  # eigenvalues are lost in lower precision
            penalty = self.penalty(features if features.dtype == torch.float64 else features.float(), labels)
        return F.cross_entropy(logits, labels) + ramped(self.strength, self.ramp, progress) * penalty
