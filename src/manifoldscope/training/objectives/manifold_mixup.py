"""Manifold mixup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.training.features import place_of, replaced
from manifoldscope.training.objectives.mixing import Mix, check_alpha
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.hooks import unwrapped
from manifoldscope.vision.layers import layers_of
from manifoldscope.vision.network import Network

INPUT = "input"
"""What `layers` calls the pixels."""


@OBJECTIVES.register("manifold_mixup")
@dataclass(frozen=True, kw_only=True)
class ManifoldMixup(Objective):
    """Cross-entropy on convex combinations of the activations of one layer, and of labels (Verma et al. 2019).

    In each batch one of the layers is chosen at random, and its activations are mixed before they go on. `mixup` mixes
    the input alone.

    Attributes:
        alpha: of Beta(alpha, alpha), from which the share of each batch is drawn.
        layers: the layers to choose from: "input", "penultimate", or names of modules. A module that is called several
            times is mixed at its first call, and at another one as "name@1".
    """

    alpha: float = 2.0
    layers: Sequence[str] = ("input", "penultimate")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alpha(self.alpha)
        for layer in layers_of(self.layers):
            if layer.is_pattern:
                raise StudyError(f"layers names the pattern {str(layer)!r}; expected layers by name")
            if layer.pool is not None:
                raise StudyError(f"layers names {str(layer)!r}; expected {layer.name!r}, all of which is mixed")

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        for each in self.layers:
            if each != INPUT:
                place_of(unwrapped(network), each, pixels)  # so that one that is not there is told at the first batch
        layer = self.layers[int(torch.randint(len(self.layers), (), generator=generator, device="cpu"))]
        mix = Mix.drawn(len(pixels), self.alpha, generator, pixels.device)
        logits = network(mix.of(pixels)) if layer == INPUT else replaced(network, pixels, layer, mix.of)
        return mix.cross_entropy(logits, labels)
