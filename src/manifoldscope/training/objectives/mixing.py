"""What the objectives share that mix the images of a batch in pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import StudyError


@dataclass(frozen=True, eq=False)
class Mix:
    """Which image of a batch each is mixed with, and how much of it.

    Attributes:
        partners: (n,) a permutation of the batch.
        share: how much of each image stays, from 0 to 1.
    """

    partners: Tensor
    share: float

    @classmethod
    def drawn(cls, n_images: int, alpha: float, generator: torch.Generator, device: torch.device) -> Mix:
        """One permutation, and one share from Beta(alpha, alpha), for a batch."""
        partners = torch.randperm(n_images, generator=generator, device="cpu").to(device)
        quantile = float(torch.rand((), generator=generator, dtype=torch.float64, device="cpu"))
        return cls(partners, float(betaincinv(alpha, alpha, quantile)))

    def of(self, values: Tensor) -> Tensor:
        """(n, ...) mixed with those of the partners."""
        return self.share * values + (1 - self.share) * values[self.partners]

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy (a scalar) of labels that are mixed as the images are."""
        own, partner = F.cross_entropy(logits, labels), F.cross_entropy(logits, labels[self.partners])
        return self.share * own + (1 - self.share) * partner


def check_alpha(alpha: float) -> None:
    """Raise StudyError unless Beta(alpha, alpha) is a distribution."""
    if not (math.isfinite(alpha) and alpha > 0):
        raise StudyError(f"alpha = {alpha}; expected a positive number (the objective 'standard' mixes nothing)")
