"""At which strength an answer is given: where accuracies differ most. The choice does not look at any measure."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

_SPREAD = pl.col("accuracy").std().fill_null(0.0).round(9)  # rounded: equal accuracies tie, whatever their order


def telling_strengths(table: pl.DataFrame) -> pl.DataFrame:
    """Each network's rows at the strength where the accuracies of its classes differ most.

    Strength 0 is taken only where there is no other, and the smaller strength wins a tie.

    Args:
        table: a row a class: model, strength, accuracy, and whatever else; of one attack and one iterate.

    Example:
        >>> rows = {"model": "net", "strength": [0.1, 0.1, 0.2, 0.2], "accuracy": [0.9, 0.8, 0.9, 0.1]}
        >>> telling_strengths(pl.DataFrame(rows))["strength"].unique().to_list()
        [0.2]
    """
    clean = pl.col("strength") == 0
    ranked = (
        table.group_by("model", "strength")
        .agg(spread=_SPREAD)
        .sort("model", clean, "spread", "strength", descending=[False, False, True, False])
    )
    chosen = ranked.unique("model", keep="first", maintain_order=True)
    return table.join(chosen, on=("model", "strength"), how="semi", maintain_order="left")


def telling_attack(table: pl.DataFrame) -> str:
    """The threat by which classes are told apart: of those under which they differ, that of the most strengths.

    Of equals, the one under which accuracies differ most; then the first by name.

    Args:
        table: a row a class: threat, strength, accuracy; of one network and one iterate each.
    """
    spreads = table.group_by("threat", "strength").agg(spread=_SPREAD)
    threats = spreads.group_by("threat").agg(pl.len().alias("strengths"), pl.col("spread").max())
    differ = pl.col("spread") > 0
    ranked = threats.sort(differ, "strengths", "spread", "threat", descending=[True, True, True, False])
    return str(ranked["threat"][0])


def telling_setting(accuracies: pl.DataFrame, *, leave_out: Collection[str] = ()) -> tuple[str, float]:
    """The threat and strength at which networks differ most, of those that the most networks share.

    Strength 0 is taken only where there is no other; of equals the smallest strength, then the first threat by name.

    Args:
        accuracies: a row a network, threat and strength: network, threat, strength, accuracy.
        leave_out: networks that do not count, such as those that guess; they do where fewer than two others are left.

    Example:
        >>> rows = {"network": ["a", "b", "a", "b"], "strength": [0.1, 0.1, 0.2, 0.2], "accuracy": [0.9, 0.8, 0.9, 0.1]}
        >>> telling_setting(pl.DataFrame(rows).with_columns(threat=pl.lit("pgd")))
        ('pgd', 0.2)
    """
    counted = accuracies.filter(~pl.col("network").is_in(list(leave_out)))
    if counted["network"].n_unique() < 2:
        counted = accuracies
    ranked = (
        counted.group_by("threat", "strength")
        .agg(pl.len().alias("networks"), spread=_SPREAD)
        .sort(
            *(pl.col("strength") == 0, "networks", "spread", "strength", "threat"),
            descending=[False, True, True, False, False],
        )
    )
    threat, strength = ranked.select("threat", "strength").row(0)
    return str(threat), float(strength)
