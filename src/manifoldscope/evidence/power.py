"""Whether a study is large enough: how many classes, images and networks an association of a given size needs.

What is tested is the correlation of geometry and robustness over classes of equal difficulty (see `two_draws`). It is
measured with noise, and so is smaller than the correlation of what the two would be without: geometry is that of some
images, robustness is a share of some images, and difficulty, which is taken out of both, is that of some images of each
draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from scipy import optimize, special, stats

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.significance import SIGNIFICANT, level_of_cell
from manifoldscope.evidence.two_draws import CONTROLS, FEWEST_CLASSES, FEWEST_IMAGES, Control, log_odds

POWER = 0.8
"""How often an association should be found."""

_Z: FloatArray = special.ndtri((np.arange(401) + 0.5) / 401)
_V: FloatArray = special.ndtri((np.arange(51) + 0.5) / 51)
"""Quantiles of a standard normal variable, of equal weight."""

_COUNTED = 1000
"""Up to so many images counts are summed one by one; beyond, log-odds are all but normal."""

_STEEPEST = 100
"""Log-odds and slopes of them beyond this are of classes that are all alike."""

MOST = 10**9
"""Classes, images and cells that can be asked about."""

MOST_IMAGES = 100_000
"""Of a class: beyond, more images are no answer."""

N_CONTROLS = {"margin": 3, "clean_accuracy": 2}

Variable = Literal["geometry", "robustness"]
Origin = Literal["classes", "measure", "attacked_images", "difficulty"]


@dataclass(frozen=True)
class Assumed:
    """What is assumed of classes; by default as in `benchmarks/simulated.py`, or as a pilot study says (`pilot`).

    z is difficulty, with a standard deviation of 1 over classes; geometry, without the noise of its images, too.

    Attributes:
        follows: slope of geometry on z, in (-1, 1).
        reliability: of the measure of geometry from one draw of images to another, in (0, 1].
        reliability_images: of how many images of a class that is; carried to other numbers by the formula of Spearman
            and Brown. None: of however many are measured.
        intraclass: share of the variance of an image's margin that lies between classes, in (0, 1).
        clean: mean clean accuracy, in (0, 1).
        clean_slope: of the log-odds of being correct when clean, on z; not 0. These four are between -100 and 100.
        robust, robust_slope, robust_curve: log-odds that an image which is correct when clean is robust:
            robust + robust_slope z + robust_curve (z^2 - 1).
        robust_variance: of these log-odds over classes of equal z; None: 0.16 / (1 - rho^2), where geometry explains
            the share rho^2.
    """

    follows: float = 0.7
    reliability: float = 0.7
    reliability_images: float | None = None
    intraclass: float = 0.15
    clean: float = 0.95
    clean_slope: float = 0.9
    robust: float = -0.2
    robust_slope: float = 1.0
    robust_curve: float = 0.35
    robust_variance: float | None = None

    def __post_init__(self) -> None:
        shares = {"reliability": self.reliability, "intraclass": self.intraclass, "clean": self.clean}
        most = {"reliability": 1.0}
        for name, share in shares.items():
            if not 0 < share <= most.get(name, 1 - 1e-6):
                raise StudyError(f"{name} = {share}; expected a share between 0 and 1")
        for name in ("clean_slope", "robust", "robust_slope", "robust_curve"):
            if not abs(value := getattr(self, name)) <= _STEEPEST or (name == "clean_slope" and value == 0):
                raise StudyError(f"{name} = {value}; expected a number from -{_STEEPEST} to {_STEEPEST}, no slope of 0")
        if not -1 < self.follows < 1:
            raise StudyError(f"follows = {self.follows}; expected a slope between -1 and 1")
        for name in ("robust_variance", "reliability_images"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise StudyError(f"{name} = {value}; expected more than 0")

    def variance_at(self, rho: float) -> float:
        """Of the log-odds of robustness over classes of equal difficulty."""
        return self.robust_variance or 0.16 / (1 - rho * rho)

    def reliability_of(self, n_images: int) -> float:
        """Of the measure, from so many images of a class."""
        return carried(self.reliability, n_images / (self.reliability_images or n_images))

    @cached_property
    def clean_odds(self) -> float:
        """Log-odds of being correct, of a class of mean difficulty."""

        def away(mu: float) -> float:
            return float(special.expit(mu + self.clean_slope * _Z).mean() - self.clean)

        most = 60 + 4 * _STEEPEST
        return float(optimize.brentq(away, -most, most))


@dataclass(frozen=True)
class Source:
    """Where the variance comes from of what is left of a variable, once difficulty is taken out.

    Attributes:
        origin: "classes": what is to be correlated; noise: "measure", of the images whose geometry is measured,
            "attacked_images", of those that are robust or not, and "difficulty", of the control.
        share: of that variance.
    """

    variable: Variable
    origin: Origin
    share: float


@dataclass(frozen=True)
class Power:
    """What a study of some size can find.

    Attributes:
        rho: the correlation of geometry and robustness over classes of equal difficulty, without any noise.
        control: by which difficulty is held fixed.
        n_classes, n_measured, n_attacked: the size of the study; images are those of a class, on each draw.
        expected: the coefficient that the test is expected to see.
        power: how often the association is found.
        needed_classes: for a power of 0.8, with that many images; at least 20, below which the test gives no answer.
        needed_images: of a class on each draw, for a power of 0.8 with that many classes; at least 20 likewise. None
            where 100,000 are too few, or classes are fewer than 20: then only more classes help.
        smallest_rho: that is found with a power of 0.8; None where not even 0.99 is.
        needed_networks: for a correlation rho across networks to be found with a power of 0.8.
        sources: where the variance of both variables comes from.
    """

    rho: float
    control: Control
    n_classes: int
    n_measured: int
    n_attacked: int
    expected: float
    power: float
    needed_classes: int
    needed_images: int | None
    smallest_rho: float | None
    needed_networks: int
    sources: tuple[Source, ...]


def power(
    n_classes: int,
    n_images: int,
    *,
    n_attacked: int | None = None,
    rho: float = 0.5,
    control: Control = "margin",
    assumed: Assumed | None = None,
    n_cells: int = 1,
) -> Power:
    """How often the primary test at 5% finds an association, and what would find it four times in five.

    By Fisher's z, K = ((z_(1 - level / 2) + z_0.8) / atanh r)^2 + 3 + d, with d = 3 controls for "margin" and 2 for
    "clean_accuracy", and the coefficient that is expected to be seen,

        r = rho sqrt(V_G / (V_G + N_G + b^2 v_A) V_S / (V_S + E[1 / ((m + 1) q (1 - q) + 1/4)] + c^2 v_C)).

    V_G and V_S are the variances of geometry and of the log-odds of robustness over classes of equal difficulty, b and
    c their slopes on difficulty (c^2 the mean square of a slope that varies), N_G the noise of geometry, v_A and v_C
    the noise of the control on the draws that are measured and attacked, m the images that are correct when clean, and
    q the robust share of them. For the margin v = (1 - icc) / (icc n); for clean accuracy it is the variance of its
    log-odds, as binomial counts have it, over the square of their slope on difficulty. Where c or v change with
    difficulty, c^2 v is a mean over classes.

    `needed_classes` is this K, or 20 if that is more; `power` takes the critical Student's t in place of 1.96, and so
    is a point or two below 0.8 there. In simulated classes (`benchmarks/evidence.py --only planner`) it is within 5
    points of what the test finds given the margin. The test is studentised, and loses up to 4 of them where few classes
    are strongly associated.

    Args:
        n_classes: K.
        n_images: of a class, on the draw whose geometry is measured, and on the one that is attacked unless
            `n_attacked` says otherwise.
        rho: between 0 and 1, without either.
        assumed: of the classes; `Assumed()` if omitted.
        n_cells: how many cells p is adjusted for, as if they were independent: an upper bound of what that costs.

    Raises:
        StudyError: an impossible size or rho, or an unknown control.

    Example:
        >>> found = power(100, 200, rho=0.5)
        >>> found.needed_classes, round(found.power, 2), found.needed_networks
        (81, 0.88, 30)
    """
    attacked = n_images if n_attacked is None else n_attacked
    if control not in CONTROLS:
        raise StudyError(unknown("control", control, CONTROLS))
    counts: tuple[object, ...] = (n_classes, n_images, attacked, n_cells)
    whole = all(isinstance(each, int | np.integer) and each is not True and 1 <= each <= MOST for each in counts)
    if not whole or not 0 < rho < 1:
        raise StudyError(
            f"rho = {rho}, {n_classes} classes, {n_images} and {attacked} images, {n_cells} cells; expected a rho "
            f"between 0 and 1, and whole numbers from 1 to {MOST:,}"
        )
    assumed = assumed or Assumed()
    level, spent = level_of_cell(SIGNIFICANT, n_cells), 3 + N_CONTROLS[control]
    wanted = float(special.ndtri(1 - level / 2) + special.ndtri(POWER))

    def seen(rho: float, n_images: int, n_attacked: int) -> float:
        return rho * _kept(assumed, control, rho, n_images, n_attacked)

    def needed(r: float) -> int:
        return max(FEWEST_CLASSES, math.ceil((wanted / math.atanh(r)) ** 2 + spent))

    def found(rho: float) -> float:
        return _power(seen(rho, n_images, attacked), n_classes - spent, level) - POWER

    def enough(times: int) -> bool:
        return times >= FEWEST_IMAGES and needed(seen(rho, times, times)) <= n_classes

    expected, best = seen(rho, n_images, attacked), 0.99
    return Power(
        rho=rho,
        control=control,
        n_classes=n_classes,
        n_measured=n_images,
        n_attacked=attacked,
        expected=expected,
        power=found(rho) + POWER,
        needed_classes=needed(expected),
        needed_images=_fewest(enough),
        smallest_rho=float(optimize.brentq(found, 1e-6, best)) if found(best) > 0 else None,
        needed_networks=math.ceil((wanted / math.atanh(rho)) ** 2 + 3),
        sources=_sources(assumed, control, rho, n_images, attacked),
    )


def carried(reliability: float, times: float) -> float:
    """The reliability of that many times as many images (Spearman 1910, Brown 1910)."""
    return times * reliability / (1 + (times - 1) * reliability)


def _power(r: float, freedom: int, level: float) -> float:
    """Of a two-sided test of a correlation: Fisher's z, of variance 1 / freedom, as a shift of Student's t; at least
    the level."""
    if freedom < 1:
        return level
    z, critical = math.atanh(r) * math.sqrt(freedom), float(special.stdtrit(freedom + 1, 1 - level / 2))
    return float(special.stdtr(freedom + 1, z - critical) + special.stdtr(freedom + 1, -z - critical))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of images that is enough; None where MOST_IMAGES are not."""
    if not enough(MOST_IMAGES):
        return None
    low, high = 0, MOST_IMAGES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=1024)
def _variances(
    assumed: Assumed, control: Control, rho: float, n_images: int, n_attacked: int
) -> dict[Variable, dict[Origin, FloatArray]]:
    """Of what is left of both variables, by where it comes from; at each difficulty z."""
    slope = assumed.robust_slope + 2 * assumed.robust_curve * _Z
    odds = assumed.robust + assumed.robust_slope * _Z + assumed.robust_curve * (_Z * _Z - 1)
    variance, one = assumed.variance_at(rho), np.ones_like(_Z)
    q = special.expit(odds[:, None] + math.sqrt(variance) * _V)
    correct = n_attacked * special.expit(assumed.clean_odds + assumed.clean_slope * _Z)
    binomial: FloatArray = (1 / ((correct[:, None] + 1) * q * (1 - q) + 0.25)).mean(axis=1)
    first, second = (_noise(assumed, control, n) for n in (n_images, n_attacked))
    return {
        "geometry": {
            "classes": (1 - assumed.follows**2) * one,
            "measure": (1 / assumed.reliability_of(n_images) - 1) * one,
            "difficulty": assumed.follows**2 * first,
        },
        "robustness": {
            "classes": variance * one,
            "attacked_images": binomial,
            "difficulty": slope**2 * second + 2 * (assumed.robust_curve * second) ** 2,
        },
    }


@lru_cache(maxsize=1024)
def _noise(assumed: Assumed, control: Control, n: int) -> FloatArray:
    """The variance of a control on a draw of n images, at each z, in units of the variance of difficulty."""
    if control == "margin":
        return np.full_like(_Z, (1 - assumed.intraclass) / (assumed.intraclass * n))
    p = special.expit(assumed.clean_odds + assumed.clean_slope * _Z)
    if n > _COUNTED:
        plain: FloatArray = 1 / ((n + 1) * p * (1 - p) + 0.25) / assumed.clean_slope**2
        return plain
    correct = np.arange(n + 1)
    weights, values = stats.binom.pmf(correct, n, p[:, None]), log_odds(correct, n)
    mean = weights @ values
    slope = float((mean * _Z).mean() / (_Z * _Z).mean())
    found: FloatArray = (weights @ values**2 - mean**2) / slope**2
    return found


def _kept(assumed: Assumed, control: Control, rho: float, n_images: int, n_attacked: int) -> float:
    """By which factor noise makes the coefficient smaller."""
    shares = _sources(assumed, control, rho, n_images, n_attacked)
    return math.sqrt(math.prod(each.share for each in shares if each.origin == "classes"))


def _sources(assumed: Assumed, control: Control, rho: float, n_images: int, n_attacked: int) -> tuple[Source, ...]:
    found = []
    for variable, parts in _variances(assumed, control, rho, n_images, n_attacked).items():
        means = {origin: float(each.mean()) for origin, each in parts.items()}
        found += [Source(variable, origin, mean / sum(means.values())) for origin, mean in means.items()]
    return tuple(found)
