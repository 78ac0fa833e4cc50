"""The primary test: does geometry go with robustness beyond how hard the classes are when clean?

Clean accuracy and the mean margin of a few dozen images are noisy measurements of how hard a class is, and a partial
correlation given a noisy control leaves part of the confounding in place: it then rejects far too often. Here geometry
is measured on one draw of images (A) and attacks take another (C), difficulty is measured on both, and what each
draw says of difficulty is an instrument for what the other says: neither the noise of the control, nor errors that the
images of a draw share, enter.

It rests on the controls being the confounder: here the margin of the classes, m, with its square and its spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import special, stats

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.interval import jackknife_interval
from manifoldscope.evidence.numbers import FloatArray, as_numbers
from manifoldscope.evidence.permutation import Block, correlations, joint_test, require_settings, unit

FEWEST_CLASSES = 20
"""With fewer classes the test is valid, but finds an association so rarely that its answer says nothing."""

FEWEST_IMAGES = 20
"""Images of each class on each draw."""

LEAST_CANONICAL = 0.3
"""Smallest canonical correlation of the controls on the two draws: below, one says nothing of the other draw."""

LEAST_RELIABILITY = 0.5
"""Of a control, between the two draws: below, it says too little of difficulty to hold it fixed."""

Control = Literal["margin", "clean_accuracy"]
CONTROLS: tuple[Control, ...] = ("margin", "clean_accuracy")
Gate = Literal["few_classes", "few_images", "unreliable_control", "weak_instrument", "same_images"]


@dataclass(frozen=True, eq=False)
class Difficulty:
    """How hard K classes are on one draw of images, each class by its own.

    Attributes:
        n_images, n_correct: (K,) how many were shown, and classified correctly.
        margin: (K,) mean of the logit of the label minus the largest other.
        margin_sd: (K,) its standard deviation over images. Where it is 0 nothing is known of the spread.

    Raises:
        StudyError: anything but flat lists of real numbers of one length, or more correct images than there are.
    """

    n_images: FloatArray
    n_correct: FloatArray
    margin: FloatArray
    margin_sd: FloatArray

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, as_numbers(getattr(self, each.name), each.name).values)
        if len({len(each) for each in vars(self).values()}) > 1:
            raise StudyError(
                f"{', '.join(vars(self))} are of different numbers of classes; expected one of each a class"
            )
        if (self.n_correct < 0).any() or (self.n_correct > self.n_images).any():
            raise StudyError("more images of a class are correct than there are; expected 0 <= n_correct <= n_images")

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(K,) which classes have every number, and margins that differ from image to image."""
        numbers = (self.n_images, self.n_correct, self.margin, self.margin_sd)
        found: npt.NDArray[np.bool_] = np.logical_and.reduce([np.isfinite(each) for each in numbers])
        return found & (self.margin_sd > 0)

    def subset(self, where: npt.NDArray[np.bool_]) -> Difficulty:
        """Of some classes."""
        return Difficulty(self.n_images[where], self.n_correct[where], self.margin[where], self.margin_sd[where])

    def of(self, control: Control) -> FloatArray:
        """(K,) what the control measures, before squares: the mean margin, or the log-odds of being correct."""
        return self.margin if control == "margin" else log_odds(self.n_correct, self.n_images)

    def controls(self, control: Control) -> FloatArray:
        """(d, K) controls: (m, m^2, log SD of the margin), or (w, w^2) of the log-odds; m and w z-scored."""
        z = _z(self.of(control))
        if control == "clean_accuracy":
            return np.stack([z, z * z])
        return np.stack([z, z * z, np.log(self.margin_sd)])


@dataclass(frozen=True)
class TwoDraws:
    """The primary test of one measure and one outcome.

    Attributes:
        coefficient: correlation of what the controls leave of both, with its jackknife interval; NaN where there is
            none, as where all classes are equally robust.
        p_value: of the studentised permutation test.
        n: classes; `n_left_out` had no image that is correct when clean, or no number.
        reliability: correlation of the control between the draws.
        raw: correlation of the same two without controls.
        vanishes_at: how reliable a control would have to be for the partial correlation to vanish, as far as single
            numbers can say: at that reliability or below, difficulty explains all of it. Above 1 it does whatever the
            reliability; at 0 or below, whatever it is, it does not. NaN where raw is 0.
        gates: why clean difficulty cannot be held fixed with these data; empty where it can.
    """

    control: Control
    coefficient: float
    low: float
    high: float
    p_value: float
    n: int
    n_left_out: int
    reliability: float
    raw: float
    vanishes_at: float
    gates: tuple[Gate, ...] = field(default=())

    @property
    def answers(self) -> bool:
        """Whether these data can hold clean difficulty fixed."""
        return not self.gates


def normal_scores(values: npt.ArrayLike) -> FloatArray:
    """(..., K) inverse normal of (average rank - 1/2) / K.

    Example:
        >>> normal_scores([3.0, 1.0, 2.0]).round(3).tolist()
        [0.967, -0.967, 0.0]
    """
    array = np.asarray(values, dtype=np.float64)
    ranks = stats.rankdata(array, axis=-1)
    found: FloatArray = special.ndtri((ranks - 0.5) / array.shape[-1])
    return found


def log_odds(successes: npt.ArrayLike, trials: npt.ArrayLike) -> FloatArray:
    """log((s + 1/2) / (n - s + 1/2)) (Haldane 1956, Anscombe 1956), which is finite at 0 and n.

    Example:
        >>> log_odds([0, 5, 10], 10).round(3).tolist()
        [-3.045, 0.0, 3.045]
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    found: FloatArray = np.log((s + 0.5) / (n - s + 0.5))
    return found


def two_draw_test(
    measure: npt.ArrayLike,
    n_robust: npt.ArrayLike,
    first: Difficulty,
    second: Difficulty,
    *,
    control: Control = "margin",
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TwoDraws:
    """Whether a measure goes with robust accuracy across classes of equal clean difficulty.

    Args:
        measure: (K,) of each class, on the first draw.
        n_robust: (K,) images of the second draw that are correct when clean and robust; `second.n_correct` are asked.
        first, second: how hard the classes are on the draw that is measured, and on the one that is attacked.
        control: what is held fixed. A strong claim needs both.
        permutations: of classes; 0 for no p-value.

    Raises:
        StudyError: vectors of different lengths, fewer than 7 classes, counts or settings that cannot be, or an unknown
            control.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z, w = rng.normal(size=(2, 40))
        >>> draws = [
        ...     Difficulty(np.full(40, 50.0), np.full(40, 45.0), z + 0.1 * rng.normal(size=40), np.exp(0.1 * w))
        ...     for _ in range(2)
        ... ]
        >>> found = two_draw_test(z + rng.normal(size=40), rng.binomial(45, 0.5, size=40), *draws, permutations=99)
        >>> found.n, found.answers
        (40, True)
    """
    if control not in CONTROLS:
        raise StudyError(unknown("control", control, CONTROLS))
    require_settings(permutations, confidence)
    g, s = as_numbers(measure, "measure").values, as_numbers(n_robust, "n_robust").values
    lengths = {len(g), len(s), *(len(each) for draw in (first, second) for each in vars(draw).values())}
    if len(lengths) != 1:
        raise StudyError(f"the measure, the outcome and the two draws are of {sorted(lengths)} classes; expected one")
    known = np.isfinite(g) & np.isfinite(s) & first.known & second.known & (second.n_correct > 0)
    a, c = first.subset(known), second.subset(known)
    if (s[known] < 0).any() or (s[known] > c.n_correct).any():
        raise StudyError("more images of a class are robust than correct; expected 0 <= n_robust <= second.n_correct")
    n = int(known.sum())
    if n < 7:
        raise StudyError(f"{n} classes have a number for everything; the test of two draws needs 7")
    x, y = normal_scores(g[known]), log_odds(s[known], c.n_correct)
    if np.ptp(s[known] / c.n_correct) == 0:
        y = np.zeros(n)  # the log-odds of few images tell how many there are
    block = Block.of(x[None], y[None], a.controls(control), c.controls(control))
    low, high = jackknife_interval(block, confidence)
    tested = joint_test([block], permutations, seed) if permutations else None
    reliability = agreement(a.of(control), c.of(control))
    raw = float(correlations(unit(x[None]), unit(y[None]))[0, 0])
    return TwoDraws(
        control,
        float(block.coefficients[0, 0]),
        float(low[0, 0]),
        float(high[0, 0]),
        float(tested.p_values[0][0, 0]) if tested else np.nan,
        n,
        int((~known).sum()),
        reliability,
        raw,
        vanishes_at(x, y, a.of(control), c.of(control)),
        gates_of(a, c, control),
    )


def difficulty_of(
    margins: pl.DataFrame | None, model: str, classes: Sequence[int]
) -> tuple[Difficulty | None, Difficulty | None] | None:
    """How hard the classes of a network are on the draws of geometry and of robustness; None of a draw it lacks.

    Args:
        margins: the table; NaN where it lacks a class.
        classes: their indices, in the order that is wanted.

    Returns:
        None where nothing is known of the network.
    """
    if margins is None or (mine := margins.filter(pl.col("model") == model)).is_empty():
        return None
    columns = ("n_images", "n_correct", "margin", "margin_sd")

    def one(draw: str) -> Difficulty | None:
        rows = mine.filter(pl.col("draw") == draw)
        if rows.is_empty():
            return None
        wanted = pl.DataFrame({"class_index": list(classes)}, schema={"class_index": pl.Int64})
        found = wanted.join(rows, on="class_index", how="left", maintain_order="left")
        return Difficulty(*(found[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns))

    return one("geometry"), one("robustness")


def agreement(first: FloatArray, second: FloatArray) -> float:
    """Reliability between two draws: the correlation of what they measured."""
    return float(correlations(unit(first[None]), unit(second[None]))[0, 0])


def canonical_correlations(first: FloatArray, second: FloatArray) -> FloatArray:
    """(d,) of the controls (d, K) on the two draws (Hotelling 1936), the largest first."""
    axes = [np.linalg.svd(unit(each), full_matrices=False)[2] for each in (first, second)]
    found: FloatArray = np.linalg.svd(axes[0] @ axes[1].T, compute_uv=False)
    return found


def gates_of(first: Difficulty, second: Difficulty, control: Control) -> tuple[Gate, ...]:
    """Why clean difficulty cannot be held fixed with these two draws."""
    found: list[Gate] = []
    if len(first.margin) and np.array_equal(first.margin, second.margin):
        found.append("same_images")
    if len(first.margin) < FEWEST_CLASSES:
        found.append("few_classes")
    if min(first.n_images.min(initial=np.inf), second.n_images.min(initial=np.inf)) < FEWEST_IMAGES:
        found.append("few_images")
    if not agreement(first.of(control), second.of(control)) >= LEAST_RELIABILITY:
        found.append("unreliable_control")
    elif canonical_correlations(first.controls(control), second.controls(control)).min() < LEAST_CANONICAL:
        found.append("weak_instrument")
    return tuple(found)


def vanishes_at(x: FloatArray, y: FloatArray, first: FloatArray, second: FloatArray) -> float:
    """The reliability of a control at which x and y would be uncorrelated given the true one: r_xc r_yc / r_xy.

    Each of x and y is correlated with the control of the other draw, so that no error is shared.
    """
    rows: Sequence[FloatArray] = [unit(each[None]) for each in (x, y, first, second)]
    r_xy, r_xc, r_yc = (float(correlations(rows[one], rows[other])[0, 0]) for one, other in ((0, 1), (0, 3), (1, 2)))
    return r_xc * r_yc / r_xy if r_xy else np.nan


def _z(values: FloatArray) -> FloatArray:
    """Centred, with a standard deviation of 1; 0 where all are the same."""
    found: FloatArray = unit(values) * np.sqrt(len(values) - 1)
    return found
