"""Attack sinks: classes as which more attacked images are misclassified than equal shares would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from manifoldscope.evidence.proportions import Reals
from manifoldscope.evidence.significance import SIGNIFICANT


@dataclass(frozen=True)
class Sink:
    """A class, and the images of others that are misclassified as it.

    Attributes:
        n_into: images of other classes that are misclassified as this one, of `n_misclassified` of other classes.
        share: `n_into` of the misclassified images of all classes.
        equal_share: what that would be if each class took an equal share of every other one's.
        p_value: of at least that many by equal shares, by the binomial distribution.
        p_adjusted: the same, adjusted for the number of classes (Holm 1979).
        n_sources: classes that any of these images are of.
        largest_source: the class that most of them are of: `n_from_largest`.
        p_without_largest: the p-value without the images of that class, times the number of classes.
    """

    class_index: int
    n_into: int
    n_misclassified: int
    share: float
    equal_share: float
    p_value: float
    p_adjusted: float
    n_sources: int
    largest_source: int
    n_from_largest: int
    p_without_largest: float

    @property
    def seen(self) -> bool:
        """Whether it is a sink: it takes more than an equal share, and adjusted p is below 0.05."""
        return self.p_adjusted < SIGNIFICANT

    @property
    def of_one_class(self) -> bool:
        """Whether nothing is seen without its largest source: then two classes are confused, and others may not be."""
        return not self.p_without_largest < SIGNIFICANT


@dataclass(frozen=True)
class Sinks:
    """As which classes the images of one network are misclassified under one attack.

    Attributes:
        n_misclassified: images, of all classes.
        n_classes: as which an image can be classified.
        n_not_finite: misclassified images without finite logits; they are of no class, and do not count.
        into: classes as which any image is misclassified, those of the largest share first.
    """

    n_misclassified: int
    n_classes: int
    n_not_finite: int
    into: tuple[Sink, ...]

    @property
    def found(self) -> tuple[Sink, ...]:
        """The attack sinks."""
        return tuple(sink for sink in self.into if sink.seen)


def sinks(confused: pl.DataFrame, n_classes: int) -> Sinks:
    """The classes as which images are misclassified, each tested against equal shares.

    By equal shares, the m_i misclassified images of class i are independent and each of the other n_classes - 1 classes
    is as likely. Then those that are taken for class j are binomial, of sum_{i != j} m_i and 1 / (n_classes - 1).

    Args:
        confused: of one network, attack and strength, as `confusions` returns it.
        n_classes: as which an image can be classified: the outputs of the network.

    Example:
        >>> rows = {"class_index": [0, 1, 2], "other_class_index": [3, 3, 3], "n_into": [9, 8, 10]}
        >>> (sink,) = sinks(pl.DataFrame(rows), 10).found
        >>> sink.class_index, sink.share, round(sink.equal_share, 3), sink.of_one_class
        (3, 1.0, 0.111, False)
    """
    known = confused.filter(pl.col("other_class_index") >= 0)
    n_not_finite = int(confused["n_into"].sum()) - (total := int(known["n_into"].sum()))
    if not total:
        return Sinks(0, n_classes, n_not_finite, ())
    own = known.group_by("class_index").agg(pl.col("n_into").sum().alias("n_own"))
    into = (
        known.sort("n_into", "class_index", descending=[True, False])
        .group_by("other_class_index", maintain_order=True)
        .agg(
            pl.col("n_into").sum().alias("n_all"),
            pl.len().alias("n_sources"),
            pl.col("class_index").first().alias("largest"),
            pl.col("n_into").first().alias("n_from_largest"),
        )
        .join(own.rename({"class_index": "other_class_index"}), on="other_class_index", how="left")
        .join(own.rename({"class_index": "largest", "n_own": "n_of_largest"}), on="largest", how="left")
        .sort("n_all", "other_class_index", descending=[True, False])
    )
    n_into, n_from, n_own, n_of_largest = (
        into[name].fill_null(0).cast(pl.Float64).to_numpy()
        for name in ("n_all", "n_from_largest", "n_own", "n_of_largest")
    )
    of_others, equal = total - n_own, 1 / max(n_classes - 1, 1)
    p_values = _at_least(n_into, of_others, equal)
    without = np.minimum(_at_least(n_into - n_from, of_others - n_of_largest, equal) * n_classes, 1.0)
    adjusted = _holm(p_values, n_classes)
    found = (
        Sink(
            class_index=int(row["other_class_index"]),
            n_into=int(row["n_all"]),
            n_misclassified=int(of_others[place]),
            share=float(n_into[place] / total),
            equal_share=float(of_others[place] * equal / total),
            p_value=float(p_values[place]),
            p_adjusted=float(adjusted[place]),
            n_sources=int(row["n_sources"]),
            largest_source=int(row["largest"]),
            n_from_largest=int(row["n_from_largest"]),
            p_without_largest=float(without[place]),
        )
        for place, row in enumerate(into.iter_rows(named=True))
    )
    return Sinks(total, n_classes, n_not_finite, tuple(found))


def _at_least(successes: Reals, trials: Reals, share: float) -> Reals:
    """The probability of at least that many successes: a regularised incomplete beta function."""
    some = successes > 0
    x = np.where(some, successes, 1.0)
    return np.where(some, special.betainc(x, np.maximum(trials, x) - x + 1, share), 1.0)


def _holm(p_values: Reals, n_tests: int) -> Reals:
    """Adjusted p-values (Holm 1979); tests beyond those given have p = 1."""
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * (max(n_tests, p_values.size) - np.arange(p_values.size))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
