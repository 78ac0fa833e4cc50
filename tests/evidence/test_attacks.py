"""What an attack is called that was run in several ways."""

from __future__ import annotations

from typing import Any

import polars as pl

from manifoldscope.evidence import with_attack_name
from manifoldscope.tables import conform


def names(*rows: dict[str, Any]) -> list[str]:
    common = {"model": "net", "attack": "pgd", "strength": 0.1, "norm": "linf", "n_steps": 20, "iterate": "last"}
    every = [{**common, **row} for row in rows]
    told = [
        {"parameters": f"norm={row['norm']} steps={row['n_steps']}", "class_index": at, **row}
        for at, row in enumerate(every)
    ]
    table = conform("robustness", told)
    return sorted(set(with_attack_name(table)["attack_name"]))


def test_one_way_needs_no_name_and_a_step_size_that_follows_from_the_strength_is_none() -> None:
    rows = [{"strength": 8 * size, "parameters": f"steps=20 step_size={size}"} for size in (0.01, 0.02, 0.04)]
    assert names(*rows) == ["pgd"]


def test_norms_and_numbers_of_steps_are_named_where_there_are_several() -> None:
    assert names({"n_steps": 20}, {"n_steps": 40}) == ["pgd (20 steps)", "pgd (40 steps)"]
    assert names({"norm": "linf"}, {"norm": "l2"}) == ["pgd (l2)", "pgd (linf)"]
    assert names({"norm": "linf"}, {"norm": "l2", "n_steps": 40}) == ["pgd (l2, 40 steps)", "pgd (linf, 20 steps)"]


def test_a_way_has_one_name_at_every_strength_and_for_every_network() -> None:
    both = [{"n_steps": 20, "strength": 0.1}, {"n_steps": 40, "strength": 0.2}, {"model": "other", "strength": 0.2}]
    assert names(*both) == ["pgd (20 steps)", "pgd (40 steps)"]


def test_other_parameters_are_named_in_full_and_one_attack_leaves_another_alone() -> None:
    margin = {"parameters": "loss=cw"}
    assert names({"parameters": "loss=ce"}, margin) == ["pgd (loss=ce)", "pgd (loss=cw)"]
    fog = {"attack": "fog", "norm": None, "n_steps": None}
    assert names({"n_steps": 20}, {"n_steps": 40}, fog) == ["fog", "pgd (20 steps)", "pgd (40 steps)"]


def test_a_table_that_knows_neither_norm_nor_steps_is_told_apart_by_its_parameters() -> None:
    table = pl.DataFrame({"attack": "pgd", "strength": 0.1, "parameters": ["steps=1", "steps=2"]})
    assert with_attack_name(table)["attack_name"].to_list() == ["pgd (steps=1)", "pgd (steps=2)"]
