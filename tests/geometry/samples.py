"""What the tests of samples share: generators by a seed, and a known answer."""

from __future__ import annotations

import torch


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def isotropic(n_points: int, n_features: int) -> float:
    """The participation ratio of a sample of an isotropic Gaussian."""
    return 1 / (1 / (n_points - 1) + 1 / n_features)
