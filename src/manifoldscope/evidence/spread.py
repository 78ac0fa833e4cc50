"""How far the accuracies of classes lie apart, beside what binomial noise alone would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import StudyError
from manifoldscope.evidence.proportions import Reals
from manifoldscope.evidence.significance import SIGNIFICANT
from manifoldscope.seeds import numpy_generator

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Noise:
    """What accuracies would look like if every class had the same true accuracy.

    Attributes:
        minimum, max_minus_min, gini: expected values.
        max_minus_min_high, gini_high: exceeded in 1 of 20 studies.
        by_rank_low, by_rank_high: (n_classes,) of the sorted accuracies, the lowest first, the middle 95% of each.
    """

    minimum: float
    max_minus_min: float
    max_minus_min_high: float
    gini: float
    gini_high: float
    by_rank_low: Reals
    by_rank_high: Reals


@dataclass(frozen=True, eq=False)
class Spread:
    """How far accuracies of classes lie apart.

    Attributes:
        accuracy: over the images of all classes.
        max_minus_min: in [0, 1].
        gini: Gini coefficient, in [0, 1 - 1/n_classes]; 0 where all are alike. It is relative to the mean of the
            classes, so the same differences make it larger where accuracies are low.
        p_value: of the hypothesis that every class has the same accuracy.
        p_adjusted: the same, multiplied by the number of settings from which this one was chosen.
        noise: what that hypothesis would give.
    """

    accuracy: float
    max_minus_min: float
    gini: float
    p_value: float
    p_adjusted: float
    noise: Noise

    @property
    def seen(self) -> bool:
        """Whether the classes differ by more than noise: p, adjusted, is below 0.05."""
        return self.p_adjusted < SIGNIFICANT


def gini(values: npt.ArrayLike) -> Reals:
    """Gini coefficients of the last axis: the mean difference of two values over twice their mean; 0 where all are 0.

    Args:
        values: (..., n_classes), not negative.

    Example:
        >>> gini([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]]).tolist()
        [0.0, 0.75]
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    total: Reals = ordered.sum(axis=-1)
    weighted: Reals = ordered @ (2 * np.arange(1, n + 1) - n - 1.0)
    return np.asarray(np.maximum(weighted / (n * np.where(total > 0, total, 1.0)), 0.0), dtype=np.float64)


def spread(
    n_robust: npt.ArrayLike, n_images: npt.ArrayLike, *, n_settings: int = 1, draws: int = 1999, seed: int = 0
) -> Spread:
    """How far the accuracies of classes lie apart, and what binomial noise alone would give.

    Noise is simulated: each class draws as many images as it has, with the accuracy over all images. The p-value is
    (b + 1) / (draws + 1), where b draws have a chi-square of homogeneity at least as large.

    Args:
        n_robust: (n_classes,) images that are robust.
        n_images: (n_classes,), at least 1 each.
        n_settings: attacks and strengths among which this one was chosen for its differences.
        draws: studies to simulate.
        seed: of the simulation.

    Raises:
        StudyError: no class; a class without images, or with more robust images than it has; no setting, or no draw.

    Example:
        >>> found = spread([10, 40, 40, 40], [50, 50, 50, 50])
        >>> round(found.max_minus_min, 2), found.noise.max_minus_min < 0.2, found.seen
        (0.6, True, True)
    """
    robust, images = np.asarray(n_robust, dtype=np.float64), np.asarray(n_images, dtype=np.float64)
    if robust.ndim != 1 or robust.shape != images.shape or not robust.size:
        raise StudyError(f"n_robust {robust.shape} and n_images {images.shape}; expected a number of each per class")
    if not (np.all(images >= 1) and np.all(robust >= 0) and np.all(robust <= images)):
        raise StudyError("a class has no images, or more robust images than it has; expected 0 <= n_robust <= n_images")
    if n_settings < 1 or draws < 1:
        raise StudyError(f"n_settings = {n_settings}, draws = {draws}; expected at least 1 of each")
    accuracy = float(robust.sum() / images.sum())
    random = numpy_generator(seed, "spread", robust.size)
    drawn = random.binomial(images.astype(np.int64), accuracy, size=(draws, robust.size)).astype(np.float64)
    b = int((_homogeneity(drawn, images) >= _homogeneity(robust, images) - _ROUNDING).sum())
    p_value = (b + 1) / (draws + 1)
    shares = np.sort(drawn / images, axis=1)
    own = robust / images
    return Spread(
        accuracy=accuracy,
        max_minus_min=float(np.ptp(own)),
        gini=float(gini(own)),
        p_value=p_value,
        p_adjusted=min(1.0, n_settings * p_value),
        noise=_noise(shares),
    )


def _noise(shares: Reals) -> Noise:
    """Of sorted accuracies, (draws, n_classes)."""
    ranges, ginis = shares[:, -1] - shares[:, 0], gini(shares)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return Noise(
        minimum=float(shares[:, 0].mean()),
        max_minus_min=float(ranges.mean()),
        max_minus_min_high=float(np.quantile(ranges, 0.95)),
        gini=float(ginis.mean()),
        gini_high=float(np.quantile(ginis, 0.95)),
        by_rank_low=low,
        by_rank_high=high,
    )


def _homogeneity(robust: Reals, images: Reals) -> Reals:
    """Pearson's chi-square of the same accuracy in every class; 0 where all images are robust, or none."""
    accuracy = robust.sum(axis=-1, keepdims=True) / images.sum()
    variance = (accuracy * (1 - accuracy))[..., 0]
    squares = (images * (robust / images - accuracy) ** 2).sum(axis=-1)
    return np.where(variance > 0, squares / np.where(variance > 0, variance, 1.0), 0.0)
