"""Classes whose geometry and robustness both follow how hard they are, for `evidence.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from manifoldscope.evidence.two_draws import Difficulty

FOLLOWS = 0.7
"""How much of a standard deviation of geometry goes with one of difficulty."""

RELIABILITY = 0.7
"""Of the measure of geometry."""

INTRACLASS = 0.15
"""Share of the variance of an image's margin that lies between classes."""

SPREADS = 0.15
"""Standard deviation over classes of the logarithm of the standard deviation of their margins."""

MARGINS = {0.75: 0.95, 0.95: 2.35, 0.99: 3.2}
"""Mean margin of an image at each clean accuracy, in standard deviations within a class."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """One simulated study."""

    measure: np.ndarray
    n_robust: np.ndarray
    first: Difficulty
    second: Difficulty
    robustness: np.ndarray
    """(K,) log-odds of an image that is correct when clean."""

    def robust_at(self, shifts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(len(shifts), K) robust images under attacks that are weaker or stronger."""
        odds = special.expit(self.robustness + shifts[:, None])
        return rng.binomial(self.second.n_correct.astype(int), odds).astype(float)


@dataclass(frozen=True)
class World:
    """How classes come about; without an association beyond difficulty, unless rho says so.

    Attributes:
        clean: mean clean accuracy.
        curved: how much geometry follows the square of difficulty.
        skewed: difficulty is 1 - Exp(1), not normal.
        heteroscedastic: geometry of harder classes is noisier.
        by_image: margins are drawn image by image, and images are robust where theirs is above a threshold.
        second: how much geometry follows a second difficulty, the spread of margins.
        rho: partial correlation of geometry and robustness.
        shared_error: how much of the error of the first draw's margin enters geometry.
        groups: of how many classes each; 1 for none. `alike` is what share of the variance of geometry and of
            robustness, beyond difficulty, the classes of a group share.
    """

    n_classes: int = 40
    n_images: int = 50
    clean: float = 0.95
    curved: float = 0.0
    skewed: bool = False
    heteroscedastic: bool = False
    by_image: bool = False
    second: float = 0.0
    rho: float = 0.0
    shared_error: float = 0.0
    groups: int = 1
    alike: float = 0.0

    def draw(self, rng: np.random.Generator) -> Simulated:
        """One study."""
        k = self.n_classes
        z = 1 - rng.exponential(size=k) if self.skewed else rng.normal(size=k)
        e, v, w, noise = rng.normal(size=(4, k))
        if self.groups > 1:
            common = np.repeat(rng.normal(size=(2, k // self.groups)), self.groups, axis=1)
            e, v = np.sqrt(self.alike) * common + np.sqrt(1 - self.alike) * np.stack([e, v])
        geometry = FOLLOWS * z + self.curved * (z * z - 1) / np.sqrt(2) + np.sqrt(1 - FOLLOWS**2) * e + self.second * w
        geometry = geometry + np.sqrt(1 / RELIABILITY - 1) * noise
        if self.heteroscedastic:
            geometry = geometry + 0.8 * np.exp(z / 2) * rng.normal(size=k)
        v = v + self.rho / np.sqrt(1 - self.rho**2) * e
        if self.by_image:
            return self._by_image(rng, geometry, z, v, w)
        first, second = (self._draw(rng, z, w) for _ in range(2))
        geometry = geometry + self.shared_error * (first.margin - z)
        odds = -0.2 + z + 0.35 * (z * z - 1) + 0.4 * v
        robust = rng.binomial(second.n_correct.astype(int), special.expit(odds))
        return Simulated(geometry, robust.astype(float), first, second, odds)

    def _draw(self, rng: np.random.Generator, z: np.ndarray, w: np.ndarray) -> Difficulty:
        n, k = self.n_images, self.n_classes
        correct = rng.binomial(n, special.expit(_intercept(self.clean, self.skewed) + 0.9 * z))
        sd = np.sqrt(1 / INTRACLASS - 1)
        margin = z + sd / np.sqrt(n) * rng.normal(size=k)
        seen = sd * np.exp(SPREADS * w) * np.sqrt(rng.chisquare(n - 1, size=k) / (n - 1))
        return Difficulty(np.full(k, float(n)), correct.astype(float), margin, seen)

    def _by_image(
        self, rng: np.random.Generator, geometry: np.ndarray, z: np.ndarray, v: np.ndarray, w: np.ndarray
    ) -> Simulated:
        mean = MARGINS[self.clean]
        margins = (mean + 0.7 * z)[:, None] + np.exp(SPREADS * w)[:, None] * rng.normal(
            size=(2, self.n_classes, self.n_images)
        )
        first, second = (
            Difficulty(
                np.full(self.n_classes, float(self.n_images)),
                (each > 0).sum(1).astype(float),
                each.mean(1),
                each.std(1, ddof=1),
            )
            for each in margins
        )
        threshold = np.exp(np.log(0.95 * mean) + 0.12 * z + 0.35 * v)
        robust = (margins[1] > threshold[:, None]).sum(1).astype(float)
        geometry = geometry + self.shared_error * (first.margin - mean - 0.7 * z)
        return Simulated(geometry, robust, first, second, np.zeros(self.n_classes))


@lru_cache
def _intercept(clean: float, skewed: bool) -> float:
    """The log-odds at which the mean over classes is the clean accuracy."""
    at = (np.arange(2000) + 0.5) / 2000
    z = 1 + np.log(at) if skewed else special.ndtri(at)
    return float(optimize.brentq(lambda mu: special.expit(mu + 0.9 * z).mean() - clean, -10, 15))
