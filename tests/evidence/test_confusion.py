"""Confusion: misclassifications are counted where they happened, and chance is tested by permuting classes."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from manifoldscope.errors import StudyError
from manifoldscope.evidence import confusions, mantel
from manifoldscope.tables import conform

VERDICTS = (
    # label, clean prediction, last prediction
    (0, 0, 1),
    (0, 0, 1),
    (0, 0, 2),
    (0, 0, 0),  # survived
    (0, 3, 3),  # misclassified when clean
    (1, 1, 1),
    (2, 1, 2),  # misclassified when clean, and right at the end
)


def outcomes(strength: float = 0.1) -> pl.DataFrame:
    rows = [
        {"model": "net", "attack": "pgd", "parameters": "steps=10", "strength": strength, "image": f"{place}"}
        | {"label": label, "clean_prediction": clean, "last_prediction": last}
        for place, (label, clean, last) in enumerate(VERDICTS)
    ]
    return conform("outcomes", rows)


def test_only_images_that_were_right_when_clean_and_wrong_at_the_end_count() -> None:
    found = confusions(outcomes())
    columns = ("class_index", "other_class_index", "n_into", "n_misclassified", "share")
    assert found.select(columns).rows() == [(0, 1, 2, 3, 2 / 3), (0, 2, 1, 3, 1 / 3)]
    assert confusions(outcomes().clear()).is_empty()


def test_strengths_are_counted_apart() -> None:
    found = confusions(pl.concat([outcomes(0.1), outcomes(0.2)]))
    assert found.group_by("strength").agg(pl.col("n_into").sum()).sort("strength").rows() == [(0.1, 3), (0.2, 3)]


def apart(n_classes: int, random: np.random.Generator) -> np.ndarray:
    places = random.normal(size=(n_classes, 2))
    return np.linalg.norm(places[:, None] - places, axis=2)


def test_the_coefficient_is_spearmans_rho_over_ordered_pairs() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    values, shares = apart(7, random), random.random((7, 7))
    off = ~np.eye(7, dtype=bool)
    found = mantel(shares, values, permutations=0)
    assert found.coefficient == pytest.approx(spearmanr(shares[off], values[off]).statistic)
    assert (found.n_pairs, found.n_classes) == (42, 7)
    assert math.isnan(found.p_value)


def test_the_p_value_holds_its_level_where_pairs_depend_on_their_classes() -> None:
    """One class far from all, into which all fall or none: pairs look alike by the dozen, and say one thing."""
    n_classes, p_values = 8, []
    for seed in range(100):
        random = np.random.default_rng(seed)
        values = apart(n_classes, random) + 5 * np.add.outer(*[random.exponential(size=n_classes)] * 2)
        shares = random.exponential(size=n_classes) ** 2 + 0.01 * random.random((n_classes, n_classes))
        p_values.append(mantel(shares, values, permutations=99, seed=seed).p_value)
    # of 100 binomial draws with p = 0.1, within three standard deviations
    assert sum(p <= 0.1 for p in p_values) <= 19
    assert min(p_values) >= 1 / 100


def test_near_classes_that_are_confused_are_found_whatever_the_classes_are_called() -> None:
    random = np.random.default_rng(1)
    values = apart(9, random)
    shares = np.exp(-3 * values)
    found = mantel(shares, values)
    assert found.coefficient < -0.99
    assert found.p_value == pytest.approx(1 / 1000)
    order = random.permutation(9)
    again = mantel(shares[np.ix_(order, order)], values[np.ix_(order, order)])
    assert again.coefficient == pytest.approx(found.coefficient)


def test_classes_without_falls_and_pairs_without_values_are_left_out() -> None:
    random = np.random.default_rng(2)
    values, shares = apart(6, random), random.random((6, 6))
    shares[3] = math.nan
    found = mantel(shares, values, permutations=99)
    assert found.n_pairs == 25
    assert 0 < found.p_value <= 1
    values[0, 1] = values[1, 0] = math.nan
    missing = mantel(shares, values, permutations=99)
    assert missing.n_pairs == 23
    assert math.isfinite(missing.coefficient)
    assert math.isnan(missing.p_value)


def test_too_few_classes_are_described_and_not_tested_and_one_value_has_no_rank() -> None:
    random = np.random.default_rng(3)
    four = mantel(random.random((4, 4)), apart(4, random))
    assert math.isfinite(four.coefficient)
    assert math.isnan(four.p_value)
    for shares, values in ((np.ones((6, 6)), apart(6, random)), (random.random((6, 6)), np.ones((6, 6)))):
        assert math.isnan(mantel(shares, values).coefficient)
    with pytest.raises(StudyError, match=r"shares \(5, 6\) and values \(6, 6\); expected two square matrices"):
        mantel(np.ones((5, 6)), np.ones((6, 6)))
