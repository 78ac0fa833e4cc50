"""Association: is one number per class (or per network) related to another, how surely, and given what.

The coefficient is a correlation, or a partial correlation given controls. Its interval is a jackknife over pairs (of
ranks: Fisher's z), its p-value a studentised permutation test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.interval import jackknife_interval, spearman_interval
from manifoldscope.evidence.numbers import FloatArray, Numbers, as_numbers
from manifoldscope.evidence.permutation import NOTHING, Block, joint_test, require_settings, unit
from manifoldscope.evidence.two_draws import (
    FEWEST_CLASSES,
    LEAST_CANONICAL,
    LEAST_RELIABILITY,
    agreement,
    canonical_correlations,
)

Method = Literal["pearson", "spearman"]

_LEVERAGE, _TIMES_THE_MEAN, _MOST = 0.25, 8, 0.9
"""A pair has leverage if at least this share of the sum of squares of x or y about its mean goes with it, and so many
times the mean share (or the last, if that is less)."""

_MOVES = 0.1
"""By how much the coefficient must differ without a pair for it to be named."""


@dataclass(frozen=True)
class Association:
    """A correlation between two variables, and how sure it is.

    Attributes:
        method: "pearson", or "spearman" (of ranks).
        coefficient: in [-1, 1]; NaN only together with a note that gives the reason.
        low, high: interval of the coefficient.
        p_value: two-sided permutation p-value of no association, at least 1 / (permutations + 1).
        n: number of pairs used.
        controls: names of the variables held fixed.
        note: what was left out, or why there is no number; empty where there is nothing.
        confidence: of the interval.
    """

    method: Method
    coefficient: float
    low: float
    high: float
    p_value: float
    n: int
    controls: tuple[str, ...] = ()
    note: str = ""
    confidence: float = 0.95

    @property
    def degrees_of_freedom(self) -> int:
        """n - k - 2 for k controls: of the t distribution that the coefficient has for Gaussian variables."""
        return self.n - len(self.controls) - 2

    @property
    def analytic_p_value(self) -> float:
        """The two-sided p-value of Student's t with n - k - 2 degrees of freedom, for comparison with the literature.

        It assumes Gaussian variables, and for "spearman" is an approximation.
        """
        r, df = self.coefficient, self.degrees_of_freedom
        if math.isnan(r) or df < 1:
            return math.nan
        if abs(r) == 1:
            return 0.0
        return float(2 * special.stdtr(df, -abs(r) * math.sqrt(df / (1 - r * r))))


def nearly_constant(values: npt.ArrayLike) -> int:
    """How many values differ from the one that all others share, where those are one or two of at least four; else 0.

    A correlation would then rest on these alone. What is not finite is not counted.

    Example:
        >>> nearly_constant([3, 3, 3, 3, 5]), nearly_constant([3, 3, 5, 5]), nearly_constant([3, 3, 3, 3])
        (1, 0, 0)
    """
    numbers = as_numbers(values, "values").values
    _, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    differ = int(counts.sum() - counts.max(initial=0))
    return differ if differ <= 2 and counts.sum() >= 4 and counts.max(initial=0) > differ else 0


def associate(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    method: Method = "pearson",
    controls: Mapping[str, npt.ArrayLike] | None = None,
    second_draw: Mapping[str, npt.ArrayLike] | None = None,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    names: tuple[str, str] = ("x", "y"),
) -> Association:
    """The correlation of x and y, given the controls, with its interval and p-value.

    *Controls.* x and y are each regressed on the controls and an intercept; the coefficient is the correlation of what
    is left. For "spearman" everything is ranked first. Noise in a control leaves part of the confounding in place:
    where the controls were measured twice, once on the images of x and once on those of y, give the first as `controls`
    and the second as `second_draw`, and each instruments the other (see `two_draw_test`). The note names a control that
    does not vary, or whose two draws correlate by less than 0.5.

    *Interval.* Pearson's: a jackknife over pairs of Fisher's z, with Student's t. Spearman's: Fisher's z with the
    standard error of Bonett and Wright (2000).

    *p-value.* Two-sided, (b + 1) / (B + 1), where b of B permutations of what is left of x give at least this
    studentised statistic, after the controls were taken out anew (see `permutation.studentised`).

    *Leverage.* If one pair carries at least a quarter of the sum of squares of x or y about its mean (and eight times
    the mean share), and Pearson's coefficient moves by 0.1 without it, the note says so, with that coefficient; so it
    does for one in fifteen sets of 32 independent Gaussian pairs.

    Two calls with the same seed and the same n share their permutations, so an added row of a table changes no other.

    Args:
        x, y: (n,) real numbers, paired; pairs with NaN or infinity, null or masked are left out and counted in the
            note. Whole and decimal numbers may be of any size.
        controls: name and (n,) numbers of each variable to hold fixed.
        second_draw: the same names, measured on the draw of y.
        permutations: how many; 0 for no p-value.
        confidence: of the interval, in (0, 1).
        names: what notes call x and y.

    Raises:
        StudyError: vectors of different lengths, or of anything but real numbers; an unknown method, or an impossible
            number of permutations; a second draw of other controls.

    Example:
        >>> result = associate([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], permutations=999)
        >>> round(result.coefficient, 3), result.n, result.degrees_of_freedom
        (0.829, 6, 4)
    """
    if method not in ("pearson", "spearman"):
        raise StudyError(unknown("method", str(method), ("pearson", "spearman")))
    require_settings(permutations, confidence)
    for given in (controls, second_draw):
        if given is not None and not isinstance(given, Mapping):
            raise StudyError(f"controls are given as a {type(given).__name__}; expected a mapping of names to numbers")
    held = tuple(controls or {})
    if second_draw and set(second_draw) != set(held):
        raise StudyError(
            f"the controls are {', '.join(held) or 'none'}, and those of the second draw {', '.join(second_draw)}; "
            "expected the same, measured twice"
        )
    again = [(second_draw or {})[name] for name in held] if second_draw else []
    values, origins, note = _complete(x, y, controls or {}, again)
    n, d = values.shape[1], len(held)

    def without(reason: str) -> Association:
        text = "; ".join(filter(None, [note, reason]))
        return Association(method, math.nan, math.nan, math.nan, math.nan, n, held, text, confidence)

    needed = 4 + d
    if n < needed:
        pairs = "pair is" if n == 1 else "pairs are"
        return without(f"{n} {pairs} too few; an association{' given controls' * bool(held)} needs {needed}")
    for name, row, origin in zip(names, values, origins, strict=False):
        if row.min() == row.max():
            return without(f"{name} is {row[0] + origin:.4g} for all {n} pairs, and nothing goes with a constant")
        if few := nearly_constant(row):
            shared = np.median(row) + origin
            return without(
                f"{name} is {shared:.4g} for all but {few} of {n} pairs, on which alone a coefficient would rest"
            )
    shown = values[:2] + np.array(origins[:2])[:, None]
    note = "; ".join(filter(None, [note, *_not_held(values[2 : 2 + d], values[2 + d :], held)]))
    if method == "spearman":
        values = stats.rankdata(values, axis=1)
    block = Block.of(values[:1], values[1:2], values[2 : 2 + d], values[2 + d :] if again else None)
    coefficient = float(block.coefficients[0, 0])
    if math.isnan(coefficient):
        gone = [
            name
            for name, left in zip(names, (block.left_of_x, block.left_of_y), strict=True)
            if np.linalg.norm(left) <= NOTHING
        ]
        verb = "leaves" if d == 1 else "leave"
        return without(f"{' and '.join(held)} {verb} nothing of {' and '.join(gone)} to explain")
    if method == "pearson" and (lever := leverage(block, shown, names)):
        note = "; ".join(filter(None, [note, lever]))
    if method == "pearson":
        low, high = (float(limit[0, 0]) for limit in jackknife_interval(block, confidence))
    else:
        low, high = spearman_interval(coefficient, n, d, confidence)
    p_value = float(joint_test([block], permutations, seed).p_values[0][0, 0]) if permutations else math.nan
    return Association(method, coefficient, low, high, p_value, n, held, note, confidence)


def _complete(
    x: npt.ArrayLike, y: npt.ArrayLike, controls: Mapping[str, npt.ArrayLike], again: Sequence[npt.ArrayLike]
) -> tuple[FloatArray, list[float], str]:
    """(2 + k, n) numbers without gaps, what was subtracted from each row, and what was left out."""
    vectors = {"x": x, "y": y, **{f"control {name!r}": control for name, control in controls.items()}}
    vectors |= {f"control {name!r} of the second draw": row for name, row in zip(controls, again, strict=False)}
    rows: dict[str, Numbers] = {name: as_numbers(vector, name) for name, vector in vectors.items()}
    length = len(rows["x"].values)
    for name, row in rows.items():
        if len(row.values) != length:
            raise StudyError(f"{name} has {len(row.values)} numbers and x has {length}; expected vectors of one length")
    stacked: FloatArray = np.stack([row.values for row in rows.values()])
    whole = np.flatnonzero(np.isfinite(stacked).all(axis=0))
    left_out = stacked.shape[1] - len(whole)
    note = f"{left_out} of {stacked.shape[1]} pairs hold no number and were left out" if left_out else ""
    return stacked[:, whole], [row.origin for row in rows.values()], note


def _not_held(own: FloatArray, again: FloatArray, held: Sequence[str]) -> Iterator[str]:
    """What to know of controls that hold nothing fixed, or that two draws do not agree on."""
    draws = {name: [row] for name, row in zip(held, own, strict=True)}
    for name, row in zip(held, again, strict=False):
        draws[name].append(row)
    said = []
    for name, rows in draws.items():
        if any(row.min() == row.max() for row in rows):
            draw = " on a draw" if len(rows) > 1 else ""
            said.append(f"{name} is the same for all {len(rows[0])} pairs{draw} and holds nothing fixed")
        elif len(rows) > 1 and np.array_equal(*rows) and len(np.unique(rows[0])) > 2:  # which group is no measurement
            said.append(f"{name} is the same on both draws, and its noise is not taken out")
        elif len(rows) > 1 and abs(reliability := agreement(*rows)) < LEAST_RELIABILITY:
            shown = f"{reliability:.2f}".replace("-", "\u2212")
            said.append(f"the two draws of {name} correlate by {shown} only, too little to hold it fixed")
    yield from said
    if not len(again):
        return
    apart = all(np.linalg.matrix_rank(unit(each)) == len(held) for each in (own, again))
    if apart and not said and (least := float(canonical_correlations(own, again).min())) < LEAST_CANONICAL:
        yield (
            f"the two draws do not agree on a combination of {' and '.join(held)} (canonical correlation {least:.2f}), "
            "too little to hold it fixed"
        )
    if (n := own.shape[1]) < FEWEST_CLASSES:
        yield f"{n} pairs are fewer than the {FEWEST_CLASSES} with which two draws can answer"


def leverage(block: Block, shown: FloatArray, names: tuple[str, str], *, cell: tuple[int, int] = (0, 0)) -> str:
    """What must be said of a single pair that a coefficient rests on: see `associate`.

    Args:
        shown: (2, K) x and y of the cell, as they were given.
        names: what they are called.
        cell: which x and which y of the block.
    """
    coefficient = float(block.coefficients[cell])
    said = {}
    for name, row in zip(names, (block.x[cell[0]], block.y[cell[1]]), strict=True):
        pair = int(np.abs(row).argmax())
        share = row[pair] ** 2  # of the sum of squares that goes with the pair
        share *= block.n / (block.n - 1)
        if share < max(_LEVERAGE, min(_TIMES_THE_MEAN / block.n, _MOST)):
            continue
        without = float(block.left_out[pair][cell])
        if abs(without - coefficient) < _MOVES:
            continue
        rest = "there is no coefficient" if math.isnan(without) else f"the coefficient is {without:.3g}"
        x, y = shown[:, pair]
        which = f"{names[0]} {x:.4g}, {names[1]} {y:.4g}"
        said[pair] = f"one pair ({which}) carries {share:.0%} of the variance of {name}; without it {rest}"
    return "; ".join(said.values())
