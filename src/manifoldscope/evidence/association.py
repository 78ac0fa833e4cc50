"""Association: is one number per class (or per network) related to another, how surely, and given what.

The coefficient is a correlation, or a partial correlation given controls. Its interval is a bootstrap over pairs, its
p-value a permutation test. Nothing is assumed of the distributions, beyond the pairs being exchangeable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import special

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.numbers import FloatArray, Numbers, as_numbers
from manifoldscope.seeds import numpy_generator
from manifoldscope.tables import conform

Method = Literal["pearson", "spearman"]

FEWEST_NETWORKS = 5
"""With fewer networks than this there is no association across networks, only a comparison."""

_DEGENERATE = 1e-10
"""Below this share of a variable's variance, what the controls leave of it is rounding."""

_LEVERAGE, _TIMES_THE_MEAN, _MOST = 0.25, 8, 0.9
"""A pair has leverage if at least this share of the sum of squares of x or y about its mean goes with it, and so many
times the mean share (or the last, if that is less)."""

_LARGE = 1e100
"""Numbers above this are scaled before they are squared, and extents below one over it."""

_ANSWER = ("method", "coefficient", "low", "high", "p_value", "n", "note")
"""Columns of `associate_frame`."""

_MOVES = 0.1
"""By how much the coefficient must differ without a pair for it to be named."""

_BLOCK_ELEMENTS = 1 << 18
"""How many permuted numbers are held at once (2 MiB, so that they stay in the processor's cache)."""


@dataclass(frozen=True)
class Association:
    """A correlation between two variables, and how sure it is.

    Attributes:
        method: "pearson", or "spearman" (of ranks).
        coefficient: in [-1, 1]; NaN only together with a note that gives the reason.
        low, high: bootstrap interval of the coefficient.
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


def associate(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    method: Method = "pearson",
    controls: Mapping[str, npt.ArrayLike] | None = None,
    bootstrap: int = 2000,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Association:
    """The correlation of x and y, given the controls, with its interval and p-value.

    *Controls.* x and y are each regressed on the controls and an intercept; the coefficient is the correlation of what
    is left. For "spearman" everything is ranked first.

    *Interval.* Pairs are drawn with replacement (ranks are taken anew in every draw), and quantiles of the resulting
    coefficients are read with the bias and acceleration corrections of Efron (1987, "BCa"), because a correlation's
    distribution leans towards 0 and the plain percentile interval does not follow it. Where the corrections do not
    exist (every draw on one side, as at |r| = 1) it is the percentile interval. Draws in which a variable is constant
    are left out and counted; where they are more than half, there is no interval.

    *p-value.* Two-sided, (b + 1) / (B + 1), where b of B permutations give at least this |coefficient|. With controls
    the residuals of y are permuted (Freedman and Lane 1983).

    *Leverage.* If one pair carries at least a quarter of the sum of squares of x or y about its mean (and eight times
    the mean share), and Pearson's coefficient moves by 0.1 without it, the note says so, with that coefficient; so it
    does for one in fifteen sets of 32 independent Gaussian pairs.

    Two calls with the same seed and the same n share their draws, so an added row of a table changes no other row.

    Args:
        x, y: (n,) real numbers, paired; pairs with NaN or infinity, null or masked are left out and counted in the
            note. Whole and decimal numbers may be of any size.
        controls: name and (n,) numbers of each variable to hold fixed.
        bootstrap, permutations: how many draws; 0 for no interval, or no p-value.
        confidence: of the interval, in (0, 1).

    Raises:
        StudyError: vectors of different lengths, or of anything but real numbers; an unknown method, or impossible
            numbers of draws.

    Example:
        >>> result = associate([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], permutations=999)
        >>> round(result.coefficient, 3), result.n, result.degrees_of_freedom
        (0.829, 6, 4)
    """
    if method not in ("pearson", "spearman"):
        raise StudyError(unknown("method", str(method), ("pearson", "spearman")))
    if bootstrap < 0 or permutations < 0 or not 0 < confidence < 1:
        raise StudyError(
            f"bootstrap = {bootstrap}, permutations = {permutations}, confidence = {confidence}; expected two whole "
            "numbers from 0 and a share between 0 and 1"
        )
    names = tuple(controls or {})
    values, origins, note = _complete(x, y, controls or {})
    n = values.shape[1]

    def without(reason: str) -> Association:
        text = "; ".join(filter(None, [note, reason]))
        return Association(method, math.nan, math.nan, math.nan, math.nan, n, names, text, confidence)

    needed = 4 + len(names)
    if n < needed:
        return without(f"{n} pairs are too few; an association{' given controls' * bool(names)} needs {needed}")
    for name, row, origin in zip(("x", "y"), values, origins, strict=False):
        if row.min() == row.max():
            return without(f"{name} is {row[0] + origin:.4g} for all {n} pairs, and nothing goes with a constant")
    shown = values[:2] + np.array(origins[:2])[:, None]
    values = _in_range(values)
    whole = np.ones((1, n))
    coefficient = float(_coefficients(values, whole, method)[0])
    if math.isnan(coefficient):
        return without(f"{' and '.join(names)} leave nothing of x or of y to explain")
    if method == "pearson" and (lever := _leverage(values, shown, coefficient)):
        note = "; ".join(filter(None, [note, lever]))
    low, high, skipped = _interval(values, method, coefficient, bootstrap, confidence, seed)
    if skipped:
        note = "; ".join(filter(None, [note, skipped]))
    p_value = _permutation_p(values, method, coefficient, permutations, seed) if permutations else math.nan
    return Association(method, coefficient, low, high, p_value, n, names, note, confidence)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """p-values adjusted for their number by Holm (1979): valid whatever the dependence between them.

    Args:
        p_values: (n,) in [0, 1]; NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = as_numbers(p_values, "p_values").values
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def association_table(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    models: pl.DataFrame,
    *,
    methods: Sequence[Literal["pearson", "spearman", "partial"]] = ("pearson", "spearman", "partial"),
    bootstrap: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Every measure against every accuracy: the table "associations".

    Within a network the pairs are its classes. Rows of the network "*" compare networks: the mean of the measure over
    classes against the mean accuracy, where at least five networks have both; the replicates of one network (named by
    "replicate_of" in `models.provenance`) are averaged first and count as one. "partial" is Pearson's given the clean
    accuracy; it has no row where accuracy is the clean accuracy. Measures of a whole layer, and of attacked images,
    are not used. A row without a coefficient (a constant, or too few classes) has nulls.

    `p_adjusted` is Holm's over one family: all rows of one method within one network (all layers, measures, threats,
    strengths and iterates), and within "*" likewise. A threat that was run with several parameters at one strength is
    told apart by naming them in `threat`.

    Raises:
        StudyError: an unknown method.

    Example:
        >>> from manifoldscope.tables import conform
        >>> empty = {name: conform(name, []) for name in ("geometry", "robustness", "models")}
        >>> len(association_table(**empty))
        0
    """
    for method in methods:
        if method not in ("pearson", "spearman", "partial"):
            raise StudyError(unknown("method", method, ("pearson", "spearman", "partial")))
    paired = _paired(geometry, robustness)
    rows: list[dict[str, Any]] = []
    key = ["model", "layer", "measure", "parameters", "threat", "strength", "iterate"]
    for frame in (paired, _network_means(paired, models)):
        for identity, group in frame.group_by(key, maintain_order=True):
            if identity[0] == "*" and len(group) < FEWEST_NETWORKS:
                continue
            x, y, clean = (group[column].to_numpy() for column in ("value", "accuracy", "clean_accuracy"))
            for method in methods:
                partial = method == "partial"
                if partial and np.array_equal(y, clean):
                    continue
                result = associate(
                    x,
                    y,
                    method="spearman" if method == "spearman" else "pearson",
                    controls={"clean_accuracy": clean} if partial else None,
                    bootstrap=bootstrap,
                    permutations=permutations,
                    seed=seed,
                )
                rows.append(
                    dict(zip(key, identity, strict=True))
                    | {"method": method, "controls": " ".join(result.controls), "n": result.n}
                    | {name: _or_null(getattr(result, name)) for name in ("coefficient", "low", "high", "p_value")}
                )
    for model, method in {(row["model"], row["method"]) for row in rows}:
        family = [row for row in rows if (row["model"], row["method"]) == (model, method)]
        known = [math.nan if row["p_value"] is None else row["p_value"] for row in family]
        for row, adjusted in zip(family, holm(known), strict=True):
            row["p_adjusted"] = _or_null(float(adjusted))
    return conform("associations", rows)


def associate_frame(
    frame: pl.DataFrame,
    x: str,
    y: str,
    *,
    controls: Sequence[str] = (),
    by: str | None = None,
    bootstrap: int = 2000,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Pearson, Spearman and, given controls, partial correlation of two columns of anyone's table.

    Args:
        frame: one row a pair.
        x, y, controls: names of columns of numbers; null is a missing pair.
        by: name of a column; there is one association for each of its values, in order.
        bootstrap, permutations, confidence, seed: see `associate`.

    Returns:
        Columns `by` (where given), method, coefficient, low, high, p_value, n, note.

    Raises:
        StudyError: a column that is not there, is named twice, or does not hold numbers; or a table without rows.

    Example:
        >>> frame = pl.DataFrame({"size": [1, 2, 3, 4, 5], "speed": [9, 7, 8, 5, 4]})
        >>> associate_frame(frame, "size", "speed")["coefficient"].round(3).to_list()
        [-0.915, -0.9]
    """
    numeric = [x, y, *controls]
    for name in [*numeric, *([by] if by is not None else [])]:
        if name not in frame.columns:
            raise StudyError(unknown("column", name, frame.columns))
        if numeric.count(name) > 1:
            raise StudyError(f"column {name!r} is named twice among x, y and the controls; give each its own column")
    if by in _ANSWER:
        raise StudyError(f"column {by!r} is also one of the answer; give it another name")
    if by is not None and (frame[by].dtype.is_nested() or frame[by].dtype == pl.Object):
        raise StudyError(f"column {by!r} holds {frame[by].dtype}; expected numbers or text to group by")
    for name in numeric:
        as_numbers(frame[name], f"column {name!r}")
    if frame.is_empty():
        raise StudyError("the table has no rows; expected one row a pair")
    groups: list[tuple[Any, pl.DataFrame]] = [(None, frame)]
    if by is not None:
        groups = [(value, group) for (value,), group in frame.sort(by).group_by(by, maintain_order=True)]
    rows = []
    for value, group in groups:
        columns = {name: group[name] for name in numeric}
        held = {name: columns[name] for name in controls}
        asked: list[tuple[str, Method, dict[str, pl.Series]]] = [
            ("pearson", "pearson", {}),
            ("spearman", "spearman", {}),
        ]
        if controls:
            asked.append(("partial", "pearson", held))
        for name, method, given in asked:
            result = associate(
                columns[x],
                columns[y],
                method=method,
                controls=given,
                bootstrap=bootstrap,
                permutations=permutations,
                confidence=confidence,
                seed=seed,
            )
            rows.append(
                ({} if by is None else {by: value})
                | {"method": name, "coefficient": result.coefficient, "low": result.low, "high": result.high}
                | {"p_value": result.p_value, "n": result.n, "note": result.note}
            )
    return pl.DataFrame(rows, schema_overrides={} if by is None else {by: frame[by].dtype})


def replicates(models: pl.DataFrame) -> dict[str, str]:
    """The name under which each network counts: its own, or that of the network it replicates with another seed.

    Args:
        models: the table; `provenance` is JSON text that may hold {"replicate_of": NAME}.

    Example:
        >>> models = pl.DataFrame({"model": ["a", "a-2"], "provenance": ["{}", '{"replicate_of": "a"}']})
        >>> replicates(models)
        {'a': 'a', 'a-2': 'a'}
    """
    names = {}
    for model, provenance in models.select("model", "provenance").iter_rows():
        try:
            known = json.loads(provenance or "{}")
        except json.JSONDecodeError:
            known = {}
        names[model] = str(known.get("replicate_of") or model) if isinstance(known, dict) else model
    return names


def _paired(geometry: pl.DataFrame, robustness: pl.DataFrame) -> pl.DataFrame:
    """Each measure of each class beside each accuracy of the class; several runs of one threat told apart."""
    measured = geometry.filter((pl.col("class_index") >= 0) & pl.col("threat").is_null()).select(
        "model", "layer", "measure", "parameters", "class_index", "value"
    )
    ambiguous = pl.col("parameters").n_unique().over("model", "threat", "strength") > 1
    named = pl.col("threat") + " (" + pl.col("parameters").fill_null("") + ")"
    survived = robustness.with_columns(threat=pl.when(ambiguous).then(named).otherwise("threat")).select(
        "model", "threat", "strength", "iterate", "class_index", "accuracy", "clean_accuracy"
    )
    return measured.join(survived, on=["model", "class_index"]).sort(
        "model", "layer", "measure", "parameters", "threat", "strength", "iterate", "class_index"
    )


def _network_means(paired: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """One row a network in place of its classes, under the model "*"; replicates averaged."""
    keys = ["layer", "measure", "parameters", "threat", "strength", "iterate"]
    numbers = ["value", "accuracy", "clean_accuracy"]
    finite = paired.filter(pl.all_horizontal(pl.col(name).is_finite() for name in numbers))
    names = replicates(models)
    each = finite.group_by(["model", *keys], maintain_order=True).agg(pl.col(numbers).mean())
    counted = each.with_columns(network=pl.col("model").replace(names))
    means = counted.group_by(["network", *keys], maintain_order=True).agg(pl.col(numbers).mean())
    return means.with_columns(model=pl.lit("*")).sort(*keys, "network")


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _complete(
    x: npt.ArrayLike, y: npt.ArrayLike, controls: Mapping[str, npt.ArrayLike]
) -> tuple[FloatArray, list[float], str]:
    """(2 + k, n) numbers without gaps, what was subtracted from each row, and what was left out."""
    vectors = {"x": x, "y": y, **{f"control {name!r}": control for name, control in controls.items()}}
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


def _in_range(values: FloatArray) -> FloatArray:
    """The same, scaled where squares would leave float64."""
    peaks = np.abs(values).max(axis=1, keepdims=True)
    rows = np.where(peaks > _LARGE, values / np.where(peaks > _LARGE, peaks, 1.0), values)
    extents = np.ptp(rows, axis=1, keepdims=True)
    small = (extents > 0) & (extents < 1 / _LARGE)
    scaled: FloatArray = np.where(small, (rows - rows[:, :1]) / np.where(small, extents, 1.0), rows)
    return scaled


def _leverage(values: FloatArray, shown: FloatArray, coefficient: float) -> str:
    """What must be said of a single pair that the coefficient rests on."""
    n = values.shape[1]
    said = {}
    for name, row in zip(("x", "y"), _standardised(values[:2]), strict=True):
        pair = int(np.abs(row).argmax())
        share = row[pair] ** 2 / (n - 1)  # of the sum of squares that goes with the pair
        if share < max(_LEVERAGE, min(_TIMES_THE_MEAN / n, _MOST)):
            continue
        weights = np.ones((1, n))
        weights[0, pair] = 0
        without = float(_coefficients(values, weights, "pearson")[0])
        if abs(without - coefficient) < _MOVES:
            continue
        rest = "there is no coefficient" if math.isnan(without) else f"the coefficient is {without:.3g}"
        x, y = shown[:, pair]
        said[pair] = f"one pair (x {x:.4g}, y {y:.4g}) carries {share:.0%} of the variance of {name}; without it {rest}"
    return "; ".join(said.values())


def _standardised(values: FloatArray) -> FloatArray:
    """Rows with mean 0 and variance 1; a constant row becomes 0."""
    centred = values - values.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True))
    varies = np.ptp(values, axis=-1, keepdims=True) > 0
    scaled: FloatArray = np.divide(centred, scale, out=np.zeros_like(centred), where=varies & (scale > 0))
    return scaled


def _coefficients(values: FloatArray, weights: FloatArray, method: Method) -> FloatArray:
    """The (partial) correlation of rows 0 and 1 given the further rows, under each row of weights.

    Args:
        values: (2 + k, n).
        weights: (draws, n) how often each pair is in each draw.

    Returns:
        (draws,) coefficients; NaN where x or y is constant once the controls are held fixed.
    """
    n_variables = len(values)
    total = weights.sum(axis=1)
    pairs = list(combinations_with_replacement(range(n_variables), 2))
    covariance = np.empty((len(weights), n_variables, n_variables))
    if method == "pearson":
        rows = _standardised(values)
        means = _projected(weights, rows) / total[:, None]
        products = _projected(weights, np.stack([rows[i] * rows[j] for i, j in pairs])) / total[:, None]
        for column, (i, j) in enumerate(pairs):
            covariance[:, i, j] = covariance[:, j, i] = products[:, column] - means[:, i] * means[:, j]
    else:
        ranked = [_weighted_ranks(row, weights) for row in values]
        middle = ((total + 1) / 2)[:, None]  # the mean of ranks, whatever the ties
        deviations = [ranks - middle for ranks in ranked]
        for i, j in pairs:
            products = np.einsum("bn,bn,bn->b", weights, deviations[i], deviations[j], optimize=False) / total
            covariance[:, i, j] = covariance[:, j, i] = products
    variance = 1.0 if method == "pearson" else values.shape[1] ** 2 / 12  # of a standardised row, or of ranks
    return _partial(covariance, rounding=_DEGENERATE * variance)


def _projected(matrix: FloatArray, rows: FloatArray) -> FloatArray:
    """matrix @ rows.T for a few rows, in one thread: more would cost more than they save, and could round otherwise."""
    return np.stack([np.einsum("bn,n->b", matrix, row) for row in rows], axis=1)


def _partial(covariance: FloatArray, *, rounding: float) -> FloatArray:
    """Correlations of variables 0 and 1 given the others, by the Schur complement of each covariance matrix."""
    left = covariance[:, :2, :2]
    if covariance.shape[1] > 2:
        given = covariance[:, 2:, 2:]
        cross = covariance[:, :2, 2:]
        left = left - cross @ np.linalg.pinv(given, rcond=_DEGENERATE, hermitian=True) @ cross.transpose(0, 2, 1)
    x, y = left[:, 0, 0], left[:, 1, 1]
    varies = (x > rounding) & (y > rounding)
    coefficients: FloatArray = np.where(varies, left[:, 0, 1] / np.sqrt(np.where(varies, x * y, 1.0)), np.nan)
    return coefficients.clip(-1.0, 1.0)


def _weighted_ranks(row: FloatArray, weights: FloatArray) -> FloatArray:
    """(draws, n) rank of each value within each draw, the mean rank for ties, repeats being ties."""
    _, group = np.unique(row, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.take(weights, order, axis=1)
    if len(starts) < len(order):
        counts = np.add.reduceat(counts, starts, axis=1)
    ranks: FloatArray = np.take(np.cumsum(counts, axis=1) - (counts - 1) / 2, group, axis=1)
    return ranks


@lru_cache(maxsize=8)
def _resamples(n: int, draws: int, seed: int) -> FloatArray:
    """(draws, n) how often each of n pairs is in each bootstrap draw."""
    counts = numpy_generator(seed, "bootstrap", n).multinomial(n, np.full(n, 1 / n), size=draws)
    return counts.astype(np.float64)


@lru_cache(maxsize=4)
def _permutations(n: int, draws: int, seed: int) -> npt.NDArray[np.intp]:
    """(draws, n) orders of n pairs."""
    orders = np.tile(np.arange(n, dtype=np.intp), (draws, 1))
    return numpy_generator(seed, "permutation", n).permuted(orders, axis=1, out=orders)


def _interval(
    values: FloatArray, method: Method, coefficient: float, draws: int, confidence: float, seed: int
) -> tuple[float, float, str]:
    """The bootstrap interval, and what must be said of it."""
    if not draws:
        return math.nan, math.nan, ""
    n = values.shape[1]
    drawn = _coefficients(values, _resamples(n, draws, seed), method)
    usable: FloatArray = np.sort(drawn[np.isfinite(drawn)])
    skipped = draws - len(usable)
    note = f"{skipped} of {draws} bootstrap draws held a constant and were left out" if skipped else ""
    if len(usable) < draws / 2:
        return math.nan, math.nan, f"{note}: too many for an interval"
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(usable, _corrected(tails, usable, values, method, coefficient))
    return float(low), float(high), note


def _corrected(
    tails: FloatArray, usable: FloatArray, values: FloatArray, method: Method, coefficient: float
) -> FloatArray:
    """The quantiles to read for these tails: Efron (1987), equation 2.3 with the jackknife's acceleration (6.6)."""
    n = values.shape[1]
    below = float(((usable < coefficient - 1e-12).mean() + (usable <= coefficient + 1e-12).mean()) / 2)
    left_out = _coefficients(values, 1 - np.eye(n), method)
    if not 0 < below < 1 or np.isnan(left_out).any():
        return tails
    influence = left_out.mean() - left_out
    spread = float((influence**2).sum())
    if spread <= _DEGENERATE**2:
        return tails
    acceleration = float((influence**3).sum()) / (6 * spread**1.5)
    bias = float(special.ndtri(below))
    shifted = bias + special.ndtri(tails)
    corrected: FloatArray = special.ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected


def _permutation_p(values: FloatArray, method: Method, coefficient: float, draws: int, seed: int) -> float:
    """Freedman and Lane's test: permute what the controls leave of y, and take the controls out again."""
    n = values.shape[1]
    if method == "spearman":
        values = np.stack([_weighted_ranks(row, np.ones((1, n)))[0] for row in values])
    rows = _standardised(values)
    basis = _orthonormal(rows[2:])
    x, y = (row - basis.T @ (basis @ row) for row in rows[:2])
    directions = np.vstack([x / np.linalg.norm(x), basis])
    extreme = 0
    for orders in _in_blocks(_permutations(n, draws, seed)):
        along = _projected(np.take(y, orders), directions)
        squared = y @ y - (along[:, 1:] ** 2).sum(axis=1)
        # Equality up to rounding counts: the observed order is itself one of the permutations.
        extreme += int((along[:, 0] ** 2 >= (coefficient**2 - 1e-10) * squared).sum())
    return (extreme + 1) / (draws + 1)


def _orthonormal(rows: FloatArray) -> FloatArray:
    """An orthonormal basis, in rows, of what these rows span."""
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    basis: FloatArray = axes[sizes > 1e-5 * sizes.max(initial=0.0)]
    return basis


def _in_blocks(orders: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    step = max(1, _BLOCK_ELEMENTS // orders.shape[1])
    for start in range(0, len(orders), step):
        yield orders[start : start + step]


def nearly_constant(values: npt.ArrayLike) -> int:
    """How many values differ from the one that all others share, where those are one or two of at least four; else 0.

    A correlation would then rest on these alone.

    Example:
        >>> nearly_constant([3, 3, 3, 3, 5]), nearly_constant([3, 3, 5, 5]), nearly_constant([3, 3, 3, 3])
        (1, 0, 0)
    """
    _, counts = np.unique(np.asarray(values), return_counts=True)
    differ = int(counts.sum() - counts.max(initial=0))
    return differ if differ <= 2 and counts.sum() >= 4 and counts.max(initial=0) > differ else 0
