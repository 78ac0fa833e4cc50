"""Does a network have the accuracies that were published of it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

import polars as pl

from manifoldscope.attacks.autoattack import AutoAttack
from manifoldscope.attacks.ball import Norm
from manifoldscope.attacks.checks.row import Row, check, share_interval

CONFIDENCE = 0.99
"""Of the interval of what was found: the published network itself is missed in one of a hundred cases."""
WIDEST = 0.1
"""An interval wider than this holds too much to say that anything was reproduced."""
SAME_EPSILON = 2e-3
"""Relative difference of two radii that are one but for rounding, such as 8/255 and 0.0314."""


@dataclass(frozen=True)
class Expected:
    """Published accuracies of one network, as shares of all test images; None where one is not known.

    Attributes:
        clean: without an attack.
        autoattack: under AutoAttack, in the ball of `epsilon` (in pixel units; None: that of the study's only
            AutoAttack) in `norm`.
        n_missing: classes of the dataset that a study does not show, so that its accuracies are of something else.
    """

    clean: float | None = None
    autoattack: float | None = None
    epsilon: float | None = None
    norm: Norm = "linf"
    n_missing: int = 0


def clean_check(expected: Expected, n_correct: int, n_images: int) -> Row:
    """The row on clean accuracy; `n_correct` of `n_images` are classified correctly, and a clean accuracy is expected.

    Example:
        >>> row = clean_check(Expected(clean=0.8969), 884, 1000)
        >>> row["passed"], row["note"]
        (True, 'reproduced: 0.884, 884 of 1,000 images, with a 99% interval from 0.856 to 0.909')
    """
    assert expected.clean is not None
    return _row("published clean accuracy", expected.clean, n_correct, n_images, expected.n_missing)


def autoattack_check(expected: Expected, outcomes: pl.DataFrame, kinds: Mapping[str, str]) -> Row:
    """The row on accuracy under AutoAttack, which is expected.

    Args:
        outcomes: the table `outcomes` of one network.
        kinds: the kind of each attack by the name that the table gives it.
    """
    assert expected.autoattack is not None
    name = "published accuracy under AutoAttack"
    mine = outcomes.filter(
        pl.col("attack").is_in([each for each, kind in kinds.items() if kind == "autoattack"]),
        pl.col("norm") == expected.norm,
        pl.col("strength") > 0,
    )
    radii = sorted(mine["strength"].unique())
    wanted = expected.epsilon if expected.epsilon is not None else radii[0] if len(radii) == 1 else None
    found = [radius for radius in radii if wanted is not None and isclose(radius, wanted, rel_tol=SAME_EPSILON)]
    if not found:
        where = "one epsilon" if wanted is None else f"epsilon {wanted:.4g}"
        return _untold(name, expected.autoattack, f"the study has no AutoAttack at {where} in {expected.norm}")
    standard = AutoAttack(epsilon=found[0], norm=expected.norm).parameters
    at = mine.filter(pl.col("strength") == found[0], pl.col("parameters") == standard)
    if at.is_empty():
        return _untold(name, expected.autoattack, f"the study's AutoAttack is not the standard one ({standard})")
    robust = pl.coalesce("robust_any", "robust_last").all()
    by_image = at.group_by("image").agg(robust.alias("robust"))["robust"]
    return _row(name, expected.autoattack, int(by_image.sum()), len(by_image), expected.n_missing)


def _row(name: str, published: float, n_hits: int, n_images: int, n_missing: int) -> Row:
    low, high = share_interval(n_hits, n_images, confidence=CONFIDENCE)
    share = n_hits / n_images
    seen = (
        f"{share:.3f}, {n_hits:,} of {n_images:,} images, with a {CONFIDENCE:.0%} interval from {low:.3f} to {high:.3f}"
    )
    if n_missing:
        return _untold(name, published, f"{n_missing} classes of the dataset are not in the study ({seen})", share)
    inside = low <= published <= high
    if inside and high - low > WIDEST:
        return _untold(name, published, f"too few images ({seen})", share)
    return check(name, inside, share, _expected(published), f"{'reproduced' if inside else 'not reproduced'}: {seen}")


def _untold(name: str, published: float, reason: str, share: float | None = None) -> Row:
    return check(name, None, share, _expected(published), f"cannot be told: {reason}")


def _expected(published: float) -> str:
    return f"{published:.4g} is within the {CONFIDENCE:.0%} interval of what was found"
