"""The studentised permutation test of correlations, of one or of many cells at once.

A cell is a variable x set against a variable y over classes, after controls were taken out of both. The classes of x
are permuted, the controls are taken out anew, and the statistic is computed again. Where there are many cells (layers,
measures, attacks, ...) the classes are permuted in all of them together, so that the dependence between cells is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import StudyError
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.seeds import numpy_generator

ELEMENTS = 1 << 20
"""How many permuted numbers are held at once (8 MiB)."""

SAME = 1e-9
"""Statistics that differ by less than this share are equal: the observed order is itself one of the permutations."""

NOTHING = 1e-5
"""Of a variable of length 1 this much is rounding, where controls leave no more."""

SINGULAR = 1e-10
"""Singular values of the controls below this share of the largest are rounding."""

LITTLE = 1e-4
"""A square of which a class, or controls, leave less than this share is rounding where it is a difference."""

CONDITION = 1e3
"""Products of controls with a larger condition number lose too many digits in such differences."""

_LARGE = 1e100
"""Numbers above this are scaled before they are squared, and extents below one over it."""


@dataclass(frozen=True, eq=False)
class Block:
    """Cells that share classes and controls: each of the x against each of the y.

    With controls F measured on the draw of x, and H on the draw of y, what is left of x is
    x - F (H'F)^-1 H'x, and of y it is y - H (F'H)^-1 F'y: the draw on which a variable was not measured instruments the
    one on which it was. Where both are the same controls these are the residuals of least squares.

    Attributes:
        x: (n_x, K), y: (n_y, K); what they are is centred here.
        own: (d, K) the controls on the draw of x; d may be 0.
        other: (d, K) the same controls on the draw of y.
        classes: (K,) which of the classes that are permuted together; 0 to K - 1 if omitted.
        given: x, y, own and other before they were centred: beside one of 1e20 that loses what the others are.
    """

    x: FloatArray
    y: FloatArray
    own: FloatArray
    other: FloatArray
    classes: npt.NDArray[np.intp] | None = None
    given: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None

    @classmethod
    def of(
        cls,
        x: FloatArray,
        y: FloatArray,
        own: FloatArray | None = None,
        other: FloatArray | None = None,
        classes: npt.NDArray[np.intp] | None = None,
    ) -> Block:
        """With everything centred, and scaled to length 1; without controls where none are given."""
        none = np.empty((0, x.shape[1]))
        own = none if own is None else own
        other = own if other is None else other
        return cls(unit(x), unit(y), unit(own), unit(other), classes, (x, y, own, other))

    @property
    def n(self) -> int:
        """Classes."""
        return int(self.x.shape[1])

    @property
    def n_classes(self) -> int:
        """How many classes there are at least: those of other blocks are among them."""
        return self.n if self.classes is None else 1 + int(self.classes.max())

    @cached_property
    def left_of_x(self) -> FloatArray:
        """(n_x, K) what the controls leave of x."""
        return residuals(self.x, self.own, self.other)

    @cached_property
    def left_of_y(self) -> FloatArray:
        """(n_y, K) what the controls leave of y."""
        return residuals(self.y, self.other, self.own)

    @property
    def coefficients(self) -> FloatArray:
        """(n_x, n_y) the correlations of what is left; NaN where nothing is."""
        return correlations(self.left_of_x, self.left_of_y)

    @property
    def statistics(self) -> FloatArray:
        """(n_x, n_y) the studentised statistics, with their sign."""
        return studentised(self.left_of_x, self.left_of_y)

    @cached_property
    def left_out(self) -> FloatArray:
        """(K, n_x, n_y) the coefficients without each class in turn."""
        found, exact = _without_each(self)
        for place in np.flatnonzero(~exact).tolist():
            found[place] = self._without(place).coefficients
        return found

    def _without(self, place: int) -> Block:
        kept = np.delete(np.arange(self.n), place)
        x, y, own, other = (each[:, kept] for each in self.given or (self.x, self.y, self.own, self.other))
        return Block.of(x, y, own, other)

    def restricted(self, orders: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """(B, K) orders (B, n) of all classes, as those of the block's own classes among themselves."""
        return orders if self.classes is None else _restricted(orders, self.classes)

    def permuted(self, orders: npt.NDArray[np.intp]) -> FloatArray:
        """(n_x, B, K) what controls leave of what is left of x, with its classes in B orders (B, K)."""
        return residuals(self.left_of_x[:, orders], self.own, self.other)


def require_settings(permutations: object, confidence: object) -> None:
    """Refuse a number of permutations or a confidence that cannot be.

    Raises:
        StudyError: no whole number from 0, or no share between 0 and 1.
    """
    whole = isinstance(permutations, int | np.integer) and permutations is not True and permutations >= 0
    if not whole or not isinstance(confidence, float | np.floating) or not 0 < confidence < 1:
        raise StudyError(
            f"permutations = {permutations}, confidence = {confidence}; expected a whole number from 0 and a share "
            "between 0 and 1"
        )


def unit(rows: FloatArray) -> FloatArray:
    """(..., K) centred, and of length 1; what is constant becomes 0."""
    rows = _in_range(rows)
    centred = rows - rows.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    flat = (np.ptp(rows, axis=-1, keepdims=True) == 0) | (length == 0)
    found: FloatArray = np.where(flat, 0.0, centred / np.where(flat, 1.0, length))
    return found


def _in_range(rows: FloatArray) -> FloatArray:
    """(..., K) the same, scaled where squares would leave float64."""
    peaks = np.abs(rows).max(axis=-1, keepdims=True, initial=0.0)
    rows = np.where(peaks > _LARGE, rows / np.where(peaks > _LARGE, peaks, 1.0), rows)
    extents = np.ptp(rows, axis=-1, keepdims=True)
    small = (extents > 0) & (extents < 1 / _LARGE)
    scaled: FloatArray = np.where(small, (rows - rows[..., :1]) / np.where(small, extents, 1.0), rows)
    return scaled


def residuals(values: FloatArray, own: FloatArray, other: FloatArray) -> FloatArray:
    """(..., K) what controls (d, K) leave of centred values (..., K): v - F (H'F)^-1 H'v."""
    if not len(own):
        return values
    inverse = np.linalg.pinv(other @ own.T, rcond=SINGULAR)
    left: FloatArray = values - (values @ other.T) @ (own.T @ inverse).T
    return left


def _without_each(block: Block) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The coefficients without each class in turn, from products.

    Without class k the product of two centred variables is a.b - K / (K - 1) a_k b_k. What controls leave of x is
    x - W F, and of y it is y - V H (see `Block`), so that its products are those of the variables and the controls.

    Returns:
        (K, n_x, n_y), and (K,) for which classes rounding is little.
    """
    n, own, other = block.n, block.own, block.other

    def products(a: FloatArray, b: FloatArray) -> FloatArray:
        each: FloatArray = a @ b.T - n / max(n - 1, 1) * a.T[:, :, None] * b.T[:, None, :]
        return each

    def squares(a: FloatArray) -> FloatArray:
        each: FloatArray = (a * a).sum(axis=1) - n / max(n - 1, 1) * (a * a).T
        return each

    across = products(other, own)
    inverse = np.linalg.pinv(across, rcond=SINGULAR)
    of_x = products(block.x, other) @ inverse.swapaxes(1, 2)
    of_y = products(block.y, own) @ inverse
    both = products(block.x, block.y) - of_x @ products(block.y, own).swapaxes(1, 2)

    exact = np.ones(n, dtype=np.bool_)
    if len(own):
        exact &= np.linalg.cond(across) < CONDITION
    left = []
    for rows, weights, controls in ((block.x, of_x, own), (block.y, of_y, other)):
        taken = (weights @ products(controls, controls) - 2 * products(rows, controls)) * weights
        left.append(squares(rows) + taken.sum(axis=2))
    for rows, kept in ((block.x, left[0]), (block.y, left[1]), (own, squares(own)), (other, squares(other))):
        exact &= ((kept > LITTLE) | ~rows.any(axis=1)).all(axis=1)
    lengths = np.sqrt(left[0].clip(0)[:, :, None] * left[1].clip(0)[:, None])
    found = np.where(lengths > 0, both / np.where(lengths > 0, lengths, 1.0), np.nan)
    return found.clip(-1.0, 1.0), exact


def correlations(x: FloatArray, y: FloatArray) -> FloatArray:
    """(..., n_y) of centred rows (..., K) with rows (n_y, K), of length 1 at most; NaN where nothing is left of one."""
    of_x, of_y = np.linalg.norm(x, axis=-1)[..., None], np.linalg.norm(y, axis=-1)
    varies = (of_x > NOTHING) & (of_y > NOTHING)
    found: FloatArray = np.where(varies, x @ y.T / np.where(varies, of_x * of_y, 1.0), np.nan)
    return found.clip(-1.0, 1.0)


def studentised(x: FloatArray, y: FloatArray) -> FloatArray:
    """(..., n_y) sum(x y) / sqrt(sum((x y)^2)) of centred rows (..., K) and (n_y, K).

    So the test holds its level where variances differ between classes (DiCiccio and Romano 2017, "Robust permutation
    tests for correlation and regression coefficients"). With few pairs even a perfect association is not the rarest
    order: of five pairs its p is 0.14, of eight 0.02.
    """
    spread = (x * x) @ (y * y).T
    varies = spread > SINGULAR**2
    found: FloatArray = np.where(varies, x @ y.T / np.sqrt(np.where(varies, spread, 1.0)), 0.0)
    return found


@dataclass(frozen=True, eq=False)
class Tested:
    """What a joint permutation test says of blocks of cells.

    Attributes:
        p_values: for each block (n_x, n_y): of that cell alone, (b + 1) / (B + 1); NaN where it has no coefficient.
        p_adjusted: for each block (n_x, n_y): how often the largest statistic of all cells is as large.
        median: of the coefficients of all cells.
        p_median: how often the median of their studentised statistics is as far from 0.
    """

    p_values: tuple[FloatArray, ...]
    p_adjusted: tuple[FloatArray, ...]
    median: float
    p_median: float


def joint_test(blocks: Sequence[Block], draws: int, seed: int, *, n_classes: int | None = None) -> Tested:
    """Permute the classes of what the controls leave of x, in all blocks together, and take the residuals anew.

    Classes are those of the blocks, 0 to `n_classes` - 1 in all; a block that lacks some of them permutes the others in
    the same order. The maximum over cells adjusts for their number (Westfall and Young 1993).

    Args:
        draws: permutations, at least 1.
    """
    most = n_classes or max(block.n_classes for block in blocks)
    observed = [np.abs(block.statistics) for block in blocks]
    known = [np.isfinite(block.coefficients) for block in blocks]
    whole, signed = (
        np.concatenate([values[have] for values, have in zip(each, known, strict=True)])
        for each in ([block.coefficients for block in blocks], [block.statistics for block in blocks])
    )
    median, middle = (float(np.median(each)) if len(each) else np.nan for each in (whole, signed))
    as_large = [np.zeros(each.shape) for each in observed]
    larger = [np.zeros(each.shape) for each in observed]
    as_far = 0
    for orders in orders_of(
        most, draws, seed, max(max(len(block.x) * most, len(block.x) * len(block.y)) for block in blocks)
    ):
        highest = np.zeros(len(orders))
        found: list[FloatArray] = []
        for place, block in enumerate(blocks):
            x = block.permuted(block.restricted(orders))
            own = studentised(x, block.left_of_y)  # (n_x, B, n_y)
            found.append(own.transpose(1, 0, 2)[:, known[place]])
            statistic = np.abs(own)
            statistic[~np.broadcast_to(known[place][:, None], statistic.shape)] = 0
            as_large[place] += (statistic >= observed[place][:, None] * (1 - SAME)).sum(axis=1)
            highest = np.maximum(highest, statistic.max(axis=(0, 2), initial=0.0))
        for place, each in enumerate(observed):
            ranked = np.sort(highest)
            larger[place] += len(ranked) - np.searchsorted(ranked, each * (1 - SAME))
        if len(whole):
            medians = np.median(np.concatenate(found, axis=1), axis=1)
            as_far += int((np.abs(medians) >= abs(middle) * (1 - SAME)).sum())

    def share(counts: FloatArray, have: npt.NDArray[np.bool_]) -> FloatArray:
        return np.where(have, (counts + 1) / (draws + 1), np.nan)

    return Tested(
        tuple(map(share, as_large, known)),
        tuple(map(share, larger, known)),
        median,
        (as_far + 1) / (draws + 1) if len(whole) else np.nan,
    )


def orders_of(n: int, draws: int, seed: int, elements: int) -> Iterator[npt.NDArray[np.intp]]:
    """(B, n) random orders, some at a time, `draws` in all; an order holds that many numbers. Equal for equal n."""
    stream = numpy_generator(seed, "permutation", n)
    at_once = max(1, ELEMENTS // max(1, elements))
    for begin in range(0, draws, at_once):
        orders = np.tile(np.arange(n, dtype=np.intp), (min(at_once, draws - begin), 1))
        yield stream.permuted(orders, axis=1, out=orders)


def _restricted(orders: npt.NDArray[np.intp], classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """(B, K) the orders of some classes among themselves, as orders (B, n) of all have them."""
    place = np.full(orders.shape[1], -1, dtype=np.intp)
    place[classes] = np.arange(len(classes))
    if len(classes) == orders.shape[1]:
        return place[orders[:, classes]]
    placed = place[orders]
    return placed[placed >= 0].reshape(len(orders), len(classes))
