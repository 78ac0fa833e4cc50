"""The strengths at which an attack tells most: where accuracies differ most."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

_SPREAD = pl.col("robust_accuracy").std().fill_null(0.0).round(9)


def telling_strengths(accuracies: pl.DataFrame, *, within: Sequence[str] = ("model",)) -> pl.DataFrame:
    """The strength at which accuracies differ most: of each network over its classes, if `within` is not given.

    It is that of the largest standard deviation. Strength 0 is no attack, and is taken only where there is no other; of
    equals (up to nine decimals) the smallest is taken. The choice looks at accuracies alone.

    Args:
        accuracies: columns `within`, strength and accuracy; a row per class, or per whatever is compared.
        within: columns that tell apart for what a strength is chosen.

    Returns:
        Columns `within` and strength, a row each.

    Example:
        >>> rows = {"model": ["a"] * 4, "strength": [0.1, 0.1, 0.2, 0.2], "robust_accuracy": [0.9, 0.8, 0.7, 0.1]}
        >>> telling_strengths(pl.DataFrame(rows)).rows()
        [('a', 0.2)]
    """
    ranked = (
        accuracies.group_by(*within, "strength")
        .agg(_spread=_SPREAD)
        .sort(pl.col("strength") == 0, "_spread", "strength", descending=[False, True, False])
    )
    return ranked.unique(list(within), keep="first").select(*within, "strength").sort(within)


def compared_networks(
    accuracies: pl.DataFrame, names: Mapping[str, str], *, left_out: Collection[str] = ()
) -> pl.DataFrame:
    """The accuracies by which networks are compared: means over classes, then over the replicates of a network.

    A network of which every replicate is in `left_out` does not count, unless fewer than two others remain.

    Args:
        accuracies: columns model, attack, strength and accuracy; a row per class.
        names: the network of each model, as of `replicates`.
        left_out: models that say nothing, such as those at chance level.

    Returns:
        Columns network, attack, strength and accuracy.
    """
    keys = ("attack_name", "strength")
    each = accuracies.group_by("model", *keys).agg(pl.col("robust_accuracy").mean())
    named = each.with_columns(
        network=pl.col("model").replace(dict(names)), counts=~pl.col("model").is_in(list(left_out))
    )
    counted = named.filter(pl.col("counts").any().over("network"))
    if counted["network"].n_unique() < 2:
        counted = named
    return counted.group_by("network", *keys).agg(pl.col("robust_accuracy").mean()).sort("network", *keys)


def telling_attack(accuracies: pl.DataFrame) -> str:
    """The attack under which an answer is given: of those under which accuracies differ, that of the most rows.

    These are classes or networks. Of equals, the one of the most strengths, then the one under which accuracies differ
    most, then the first by name.

    Args:
        accuracies: columns attack, strength and accuracy; a row per class of one network, or per network.
    """
    spreads = accuracies.group_by("attack_name", "strength").agg(pl.len().alias("rows"), standard_deviation=_SPREAD)
    attacks = spreads.group_by("attack_name").agg(
        pl.len().alias("strengths"), pl.col("standard_deviation", "rows").max()
    )
    differ = pl.col("standard_deviation") > 0
    ranked = attacks.sort(
        differ, "rows", "strengths", "standard_deviation", "attack_name", descending=[True, True, True, True, False]
    )
    return str(ranked["attack_name"][0])
