"""Networks by classes as facts: in which setting, and what counts."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from manifoldscope.evidence.networks_by_classes import networks_by_classes
from manifoldscope.evidence.within_between import within_between_table
from manifoldscope.tables import TABLES, conform


def study(n_networks: int = 5, *, saturated: int = 0, layers: tuple[str, ...] = ("deep",)) -> dict[str, pl.DataFrame]:
    """Within each network classes with more dimensions are less robust; networks with more are more robust.

    At strength 0.2 the first networks are saturated: all of their classes are at 0.
    """
    names = [f"net{place}" for place in range(n_networks)]
    geometry: list[dict[str, Any]] = []
    robustness: list[dict[str, Any]] = []
    for place, model in enumerate([*names, "random"]):
        for label in range(12):
            told = {"model": model, "class_index": label, "class_name": f"c{label}"}
            geometry += [
                told | {"layer": layer, "measure": "pca_dimension", "parameters": "fraction=0.95"}
                | {"value": 10.0 + 2 * place + label % 7}
                for layer in layers
            ]  # fmt: skip
            for strength, iterate in ((0.1, "last"), (0.1, "any"), (0.2, "last"), (0.2, "any")):
                n = 90 - 2 * (label % 7) - (label % 5) - 6 * (n_networks - place) * (1 + (strength == 0.2))
                n = 0 if place < saturated and strength == 0.2 else max(0, n - (iterate == "any"))
                robustness.append(
                    told | {"attack": "pgd", "parameters": "", "strength": strength, "iterate": iterate}
                    | {"n_images": 100, "n_clean_correct": 100, "n_robust": n, "robust_accuracy": n / 100}
                )  # fmt: skip
    models = [{"model": name, "provenance": "{}", "clean_accuracy": 0.9, "n_classes": 12} for name in names]
    models.append({"model": "random", "provenance": "{}", "clean_accuracy": 1 / 12, "n_classes": 12})
    rows = {"geometry": geometry, "robustness": robustness, "models": models}
    tables = {name: conform(name, rows.get(name, [])) for name in TABLES}
    made = within_between_table(tables["geometry"], tables["robustness"], tables["models"], permutations=99)
    return tables | {"within_between": made}


def test_a_reversal_is_told_at_the_strength_where_networks_differ_most() -> None:
    fact = networks_by_classes(study())
    assert fact is not None
    assert (fact.attack, fact.strength, fact.iterate, fact.measure) == ("pgd", 0.2, "last", "pca_dimension")
    (deep,) = fact.layers
    assert deep.reversal
    assert deep.between is not None
    assert deep.within.value < -0.5 < 0.9 < deep.between
    assert (deep.n_networks, deep.n_classes, deep.n_negative) == (5, 12, 5)
    assert deep.within.p_value is not None
    assert deep.within.p_value <= 0.02
    assert (deep.within.p_adjusted, deep.within.low) == (None, None)
    assert set(fact.at_chance) == {"random"}
    assert "random" not in fact.networks
    assert not fact.replicated
    assert len(fact.rows) == 1


def test_a_strength_at_which_fewer_networks_have_an_association_is_not_taken() -> None:
    fact = networks_by_classes(study(saturated=2))
    assert fact is not None
    assert (fact.strength, fact.layers[0].n_networks) == (0.1, 5)


def test_p_is_adjusted_for_the_layers_and_eight_networks_have_an_interval() -> None:
    fact = networks_by_classes(study(8, layers=("deep", "early", "middle")))
    assert fact is not None
    for each in fact.layers:
        assert each.within.p_value is not None
        assert each.within.p_adjusted == pytest.approx(3 * each.within.p_value)
        assert each.within.low is not None
        assert each.within.low < each.within.value


def test_replicates_are_told_and_fewer_than_two_networks_are_nothing() -> None:
    tables = study(3)
    again = pl.when(pl.col("model") == "net1").then(pl.lit('{"replicate_of": "net0"}')).otherwise("provenance")
    fact = networks_by_classes(tables | {"models": tables["models"].with_columns(provenance=again)})
    assert fact is not None
    assert fact.replicated
    assert fact.networks["net1"] == "net0"
    assert networks_by_classes(study(1)) is None
