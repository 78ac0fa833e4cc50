"""Specification curves in words: numbers first, a median with its p, and nothing where a gate is closed."""

from __future__ import annotations

import itertools
from typing import Any

import polars as pl

from manifoldscope.report.findings import FINDINGS, Finding
from manifoldscope.tables import TABLES, conform

CONTROLS = {"": "pearson", "margin": "two_draws", "clean_accuracy": "two_draws"}
MEDIANS = {"": (-0.3, 0.01), "margin": (-0.12, 0.2), "clean_accuracy": (-0.2, 0.04)}


def study(models: tuple[str, ...] = ("net",), **gates: str) -> dict[str, pl.DataFrame]:
    rows: list[dict[str, Any]] = []
    medians = []
    for (place, model), (control, method) in itertools.product(enumerate(models), CONTROLS.items()):
        told = {"model": model, "method": method, "controls": control}
        rows += [
            told | {"layer": layer, "measure": "m", "parameters": "", "attack": "pgd", "strength": strength}
            | {"iterate": "last", "outcome": "robust_accuracy", "coefficient": 0.1 * (at - 4)}
            | {"gate": gates.get(control, "")}
            for at, (layer, strength) in enumerate(itertools.product(("early", "late"), (0.1, 0.2, 0.3)))
        ]  # fmt: skip
        median, p = MEDIANS[control]
        medians.append(told | {"n_cells": 6, "median": median + 0.1 * place, "p_median": p, "n_negative": 4})
    filled = {"associations": rows, "specifications": medians}
    return {name: conform(name, filled.get(name, [])) for name in TABLES}


def found(tables: dict[str, pl.DataFrame]) -> list[Finding]:
    result: list[Finding] = FINDINGS["specifications"].target(tables)
    return result


def test_one_network_is_told_with_its_medians_and_their_p() -> None:
    (finding,) = found(study())
    assert finding.title == (
        "Over 6 specifications in net the median r is −0.30 (p = 0.01); given the margin it is −0.12 (p = 0.2); given "
        "clean accuracy it is −0.20 (p = 0.04)"
    )
    assert finding.text.startswith(
        "net: over 6 specifications (2 layers and 3 attacks and strengths) the median r is −0.30 (p = 0.01), with 4 "
        "below 0; given the margin, over 6, −0.12 (p = 0.2), with 4 below 0"
    )
    assert finding.weight < 98
    assert len(finding.numbers) == 3
    assert any("claims only that margins on two draws do not explain the median" in each for each in finding.caveats)


def test_where_a_gate_is_closed_no_number_is_told() -> None:
    (finding,) = found(study(margin="few_classes", clean_accuracy="few_classes"))
    assert finding.title == "Over 6 specifications in net the median r is −0.30 (p = 0.01)"
    assert "Given the margin or clean accuracy, nothing can be said: fewer than 20 classes." in finding.text
    for number in ("−0.12", "−0.20"):
        assert number not in finding.text
    assert not any("a small p claims" in caveat for caveat in finding.caveats)


def test_a_gate_of_clean_accuracy_says_nothing_of_margins() -> None:
    (finding,) = found(study(clean_accuracy="unreliable_control weak_instrument"))
    assert (
        "Given clean accuracy, nothing can be said: a control whose reliability between the draws is below 0.5 and a "
        "combination of controls that the two draws do not agree on." in finding.text
    )


def test_several_networks_are_told_by_how_many_have_evidence() -> None:
    (finding,) = found(study(("one", "two")))
    assert finding.title == (
        "Over all specifications, the median r is −0.30 to −0.20 (p < 0.05 in 2 of 2 networks); given the margin −0.12 "
        "to −0.02 (in 0 of 2); given clean accuracy −0.20 to −0.10 (in 2 of 2)"
    )
    many = found(study(tuple(f"net{place}" for place in range(9))))[0].text
    assert "Of 9 networks, those of the lowest and the highest median:" in many
    assert ("net0: " in many, "net4: " in many, "net8: " in many) == (True, False, True)


def test_shares_of_signs_never_stand_without_the_median() -> None:
    for paragraph in found(study(("one", "two")))[0].text.split("\n\n"):
        for clause in paragraph.split(";"):
            assert ("below 0" in clause) == ("(p = " in clause)


def test_without_a_tested_median_nothing_is_said() -> None:
    tables = study()
    assert found(tables | {"specifications": tables["specifications"].clear()}) == []
    assert found({name: table.clear() for name, table in tables.items()}) == []
