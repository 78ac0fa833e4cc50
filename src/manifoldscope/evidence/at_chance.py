"""Networks that are at chance level: their accuracies say nothing, and they are left out and named."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from manifoldscope.chance import near_chance


def at_chance(models: pl.DataFrame) -> dict[str, float]:
    """The networks that are at chance level, with their clean accuracy.

    The rule is `chance.near_chance`. A binomial test would be too strict: an untrained network favours some classes,
    and so leaves chance without knowing anything. A network of unknown accuracy is not among them.

    Args:
        models: the table.

    Example:
        >>> rows = {"model": ["random", "trained"], "clean_accuracy": [0.124, 0.956], "n_classes": [10, 10]}
        >>> at_chance(pl.DataFrame(rows))
        {'random': 0.124}
    """
    found = {}
    for model, accuracy, n_classes in models.select("model", "clean_accuracy", "n_classes").iter_rows():
        if accuracy is not None and n_classes and near_chance(accuracy, n_classes):
            found[model] = accuracy
    return found


def networks_at_chance(models: pl.DataFrame, names: Mapping[str, str]) -> dict[str, float]:
    """The networks of which every replicate is at chance level, with their mean clean accuracy.

    Args:
        models: the table.
        names: under which name each counts, as `replicates` gives them.
    """
    accuracies = at_chance(models)
    found: dict[str, list[float | None]] = {}
    for model, network in names.items():
        found.setdefault(network, []).append(accuracies.get(model))
    known = {network: [each for each in every if each is not None] for network, every in found.items()}
    return {network: sum(each) / len(each) for network, each in known.items() if len(each) == len(found[network])}
