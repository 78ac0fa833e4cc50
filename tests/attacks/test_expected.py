"""Whether published accuracies are reproduced: the interval, and what is not comparable."""

from __future__ import annotations

import doctest

import polars as pl
import pytest
from scipy import stats

from manifoldscope.attacks import AutoAttack
from manifoldscope.attacks.checks import Expected, autoattack_check, clean_check
from manifoldscope.attacks.checks import expected as module


def test_the_example_runs() -> None:
    assert doctest.testmod(module).failed == 0


def at(n_hits: int, n: int, level: float) -> float:
    """The end of the two-sided 99% interval of Clopper and Pearson, by its definition as a quantile of a beta law."""
    low, high = stats.beta.ppf(0.005, n_hits, n - n_hits + 1), stats.beta.ppf(0.995, n_hits + 1, n - n_hits)
    return float(low if level < 0.5 else high)


@pytest.mark.parametrize(
    ("n_correct", "published", "passed"),
    [
        (890, 0.8969, True),
        (890, at(890, 1000, 0) + 1e-6, True),
        (890, at(890, 1000, 0) - 1e-6, False),
        (890, at(890, 1000, 1) - 1e-6, True),
        (890, at(890, 1000, 1) + 1e-6, False),
        (1000, 0.8969, False),
        (0, 0.8969, False),
    ],
)
def test_clean_accuracy_is_reproduced_within_the_interval(n_correct: int, published: float, passed: bool) -> None:
    row = clean_check(Expected(clean=published), n_correct, 1000)
    assert row["passed"] is passed
    assert row["value"] == n_correct / 1000
    assert row["note"].startswith("reproduced: " if passed else "not reproduced: ")


def test_few_images_show_a_difference_but_no_agreement() -> None:
    row = clean_check(Expected(clean=0.9), 18, 20)
    assert row["passed"] is None
    assert row["note"].startswith("cannot be told: too few images (0.900, 18 of 20 images")
    assert clean_check(Expected(clean=0.9), 2, 20)["passed"] is False


def test_with_some_of_the_classes_nothing_is_said() -> None:
    row = clean_check(Expected(clean=0.9, n_missing=5), 100, 1000)
    assert (row["passed"], row["value"]) == (None, 0.1)
    assert row["note"].startswith("cannot be told: 5 classes of the dataset are not in the study")


def outcomes(n_robust: int, n: int = 1000, *, name: str = "aa", **settings: object) -> pl.DataFrame:
    attack = AutoAttack(**{"epsilon": 8 / 255, **settings})
    return pl.DataFrame(
        {
            "attack": name,
            "parameters": attack.parameters,
            "norm": attack.norm,
            "strength": attack.strength,
            "image": [f"{index}" for index in range(n)],
            "robust_any": [index < n_robust for index in range(n)],
        }
    ).with_columns(robust_last=pl.lit(None, dtype=pl.Boolean))


KINDS = {"aa": "autoattack", "pgd": "pgd"}


@pytest.mark.parametrize(("n_robust", "passed"), [(595, True), (560, True), (500, False), (700, False)])
def test_accuracy_under_autoattack(n_robust: int, passed: bool) -> None:
    """Beside a weaker attack, another radius and another norm, none of which counts."""
    table = pl.concat(
        [
            outcomes(n_robust),
            outcomes(900, name="pgd"),
            outcomes(900, epsilon=2 / 255),
            outcomes(900, epsilon=0.5, norm="l2"),
        ]
    )
    row = autoattack_check(Expected(autoattack=0.5953, epsilon=0.0314), table, KINDS)
    assert (row["passed"], row["value"]) == (passed, n_robust / 1000)
    assert row["expected"] == "0.5953 is within the 99% interval of what was found"
    assert autoattack_check(Expected(autoattack=0.9, epsilon=0.5, norm="l2"), table, KINDS)["passed"] is True


@pytest.mark.parametrize(
    ("expected", "table", "reason"),
    [
        (Expected(autoattack=0.6, epsilon=0.031), outcomes(600), "no AutoAttack at epsilon 0.031 in linf"),
        (Expected(autoattack=0.6, norm="l2"), outcomes(600), "no AutoAttack at one epsilon in l2"),
        (Expected(autoattack=0.6), outcomes(600, name="pgd"), "no AutoAttack at one epsilon in linf"),
        (Expected(autoattack=0.6), outcomes(600, steps=5), "is not the standard one (norm=linf steps=100"),
        (Expected(autoattack=0.6, n_missing=2), outcomes(600), "2 classes of the dataset are not in the study"),
        (Expected(autoattack=0.6), outcomes(24, 40), "too few images"),
    ],
)
def test_what_cannot_be_compared_is_said(expected: Expected, table: pl.DataFrame, reason: str) -> None:
    row = autoattack_check(expected, table, KINDS)
    assert row["passed"] is None
    assert row["note"].startswith("cannot be told: ")
    assert reason in row["note"]


def test_the_only_epsilon_of_the_study_is_meant_where_none_is_said() -> None:
    table = pl.concat([outcomes(1000, epsilon=0.0), outcomes(600)])
    assert autoattack_check(Expected(autoattack=0.6), table, KINDS)["passed"] is True
