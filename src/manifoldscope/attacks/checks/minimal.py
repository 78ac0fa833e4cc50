"""Do other attacks refute the distances that a search for minimal perturbations found?"""

from __future__ import annotations

import polars as pl

from manifoldscope.attacks.checks.row import Row, check

FARTHER = 1.2
"""How many times as far as another attack's image a search may end; where searches work, they differ by less."""
REFUTED = 0.05
"""Share of the images that may be farther."""


def minimal_checks(outcomes: pl.DataFrame) -> list[Row]:
    """A row for each search of one network that has company: other attacks or searches in balls of the same norm.

    What a search finds is an upper bound. An adversarial example of another attack within a smaller radius is a tighter
    one, and many of them say that the search does not work on this network.

    Args:
        outcomes: the table `outcomes` of one network.

    Example:
        >>> one = {"attack": "pgd", "strength": 0.1, "robust_any": False, "minimal_epsilon": None}
        >>> two = {"attack": "minimal_fmn", "strength": 0.5, "robust_any": None, "minimal_epsilon": float("inf")}
        >>> each = {"parameters": "", "norm": "linf", "image": "a", "label": 0, "clean_prediction": 0}
        >>> rows = pl.DataFrame([{**each, "robust_last": None, **own} for own in (one, two)])
        >>> [(row["check"], row["passed"], row["value"]) for row in minimal_checks(rows)]
        [('minimal epsilon (minimal_fmn)', False, 1.0)]
    """
    search = pl.col("minimal_epsilon").is_not_null()
    own = ("attack", "parameters", "strength")
    told = outcomes.filter(pl.col("norm").is_not_null() & (pl.col("clean_prediction") == pl.col("label"))).with_columns(
        bound=pl.when(search)
        .then("minimal_epsilon")
        .when(~pl.coalesce("robust_any", "robust_last"))
        .then("strength")
        .otherwise(float("inf"))
    )
    rows = []
    for (attack, parameters, largest, norm), found in told.filter(search).group_by([*own, "norm"], maintain_order=True):
        itself = (pl.col("attack") == attack) & (pl.col("parameters") == parameters) & (pl.col("strength") == largest)
        others = told.filter((pl.col("norm") == norm) & ~itself & (pl.col("strength") > 0))
        searched = pl.when(pl.col("bound") <= largest).then("bound").otherwise(float("inf"))  # no farther than that
        least = others.with_columns(bound=searched).sort("bound").group_by("image", maintain_order=True).first()
        both = found.join(least.select("image", nearer="bound", by="attack"), on="image")
        if both.is_empty():
            continue
        refuted = both.filter(pl.col("bound") > FARTHER * pl.col("nearer"))
        share = len(refuted) / len(both)
        note = f"{len(refuted)} of {len(both)} images"
        if len(refuted):
            by = refuted["by"].value_counts(sort=True)["by"][0]
            note += f", most of them by {by}; {int(refuted['bound'].is_infinite().sum())} were not found at all"
        if share > REFUTED:
            note += ". Report the smallest distance over several searches, image by image"
        rows.append(
            check(
                f"minimal epsilon ({attack})",
                share <= REFUTED,
                share,
                f"another attack in the same norm succeeds within 1/{FARTHER:g} of the distance on at most "
                f"{REFUTED:.0%} of the images",
                note,
            )
        )
    return rows
