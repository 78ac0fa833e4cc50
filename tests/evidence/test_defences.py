"""Defences side by side: what each costs, loses and gains, from tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from manifoldscope.evidence.defences import defences_table, told
from manifoldscope.evidence.proportions import difference, wilson
from manifoldscope.report import draw
from manifoldscope.report.findings.defences import found
from manifoldscope.tables import conform

# model: defence, objective, multiply-adds, seconds; correct when clean and robust to pgd, and to autoattack, of 100
NETWORKS = {
    "standard/0": (None, "standard", 10, 50.0, 98, 20, 10),
    "standard/1": (None, "standard", 10, 70.0, 96, 22, 10),
    "trained": (None, "adversarial", 10, 300.0, 95, 80, 70),
    "vote": ("noise_vote", "standard", 80, 90.0, 93, 40, 30),
    "random": (None, "random", 10, None, 10, 0, 0),
}


def tables(networks=NETWORKS, *, attacks=("pgd", "autoattack")):
    models = [
        {
            "model": model,
            "source": "small:cnn",
            "defence": defence,
            "defence_parameters": defence and "votes=8",
            "objective": objective,
            "multiply_adds": cost,
            "n_trained_classes": None if objective in ("random", None) else 10,
        }
        for model, (defence, objective, cost, *_) in networks.items()
    ]
    costs = [
        {"model": model, "objective": objective, "parameters": "epsilon=0.1", "seconds": seconds}
        if objective == "adversarial"
        else {"model": model, "objective": objective, "parameters": "", "seconds": seconds}
        for model, (_, objective, _, seconds, *_) in networks.items()
        if seconds is not None
    ]
    outcomes = [
        {
            "model": model,
            "attack": attack,
            "norm": "linf",
            "strength": strength,
            "image": str(image),
            "label": 0,
            "clean_prediction": int(image >= correct),
            "robust_any": robust_any,
            "robust_last": robust_last,
        }
        for model, (*_, correct, by_pgd, by_autoattack) in networks.items()
        for strength in (0.0, 0.05, 0.1)
        for image in range(100)
        # all are robust at 0.05; autoattack misclassifies others than pgd, and has the last alone
        for attack, robust_any, robust_last in (
            ("pgd", image < (by_pgd if strength > 0.05 else correct), True),
            ("autoattack", None, image < correct if strength < 0.1 else by_pgd - by_autoattack <= image < correct),
        )
        if attack in attacks
    ]
    return {
        "models": conform("models", models),
        "training_costs": conform("training_costs", costs),
        "outcomes": conform("outcomes", outcomes),
        "defences": conform("defences", []),
    }


def arrays(*counts):
    return [np.array([float(count)]) for count in counts]


def test_an_image_is_robust_that_no_attack_misclassifies():
    table = defences_table(tables())
    assert table["strength"].unique().sort().to_list() == [0.05, 0.1]
    assert set(table["model"]) == {"standard/0", "standard/1", "trained", "vote"}  # what learned nothing is no defence
    at = table.filter(strength=0.1)
    assert dict(at.select("model", "n_robust").iter_rows()) == {
        "standard/0": 10,
        "standard/1": 10,
        "trained": 70,
        "vote": 30,
    }
    assert set(at["attacks"]) == {"autoattack + pgd"}
    row = at.filter(model="trained").row(0, named=True)
    (low,), (high,) = wilson(*arrays(70, 100))
    assert (row["robust_accuracy"], row["robust_low"], row["robust_high"]) == pytest.approx((0.7, low, high))
    (low,), (high,) = wilson(*arrays(95, 100))
    assert (row["clean_accuracy"], row["clean_low"], row["clean_high"]) == pytest.approx((0.95, low, high))


def test_each_is_compared_with_the_mean_of_standard_training_of_its_source():
    rows = {row["model"]: row for row in defences_table(tables()).filter(strength=0.1).iter_rows(named=True)}
    vote = rows["vote"]
    assert vote["baseline"] == "standard/0, standard/1"
    assert vote["clean_loss"] == pytest.approx(0.97 - 0.93)
    (low,), (high,) = difference(*arrays(194, 200, 93, 100))
    assert (vote["clean_loss_low"], vote["clean_loss_high"]) == pytest.approx((low, high))
    assert vote["relative_multiply_adds"] == 8
    assert vote["relative_seconds"] == pytest.approx(1.5)
    assert rows["trained"]["relative_seconds"] == pytest.approx(5)


def test_a_baseline_has_no_interval_against_itself():
    one = {name: way for name, way in NETWORKS.items() if name != "standard/1"}
    rows = defences_table(tables(one)).filter(model="standard/0").to_dicts()
    assert {(row["clean_loss"], row["clean_loss_low"]) for row in rows} == {(0.0, None)}


def test_loaded_networks_have_a_loaded_baseline():
    loaded = {
        "plain": (None, None, 10, None, 90, 20, 10),
        "vote": ("noise_vote", None, 80, None, 80, 40, 30),
        "trained": (None, "adversarial", 10, 300.0, 95, 80, 70),  # alone among those that are trained here
    }
    rows = {row["model"]: row for row in defences_table(tables(loaded)).filter(strength=0.1).iter_rows(named=True)}
    assert {name: row["baseline"] for name, row in rows.items()} == {"plain": "plain", "vote": "plain"}
    assert rows["vote"]["clean_loss"] == pytest.approx(0.1)
    assert (rows["vote"]["seconds"], rows["vote"]["relative_seconds"]) == (None, None)


def test_without_a_baseline_nothing_is_lost_and_all_is_told():
    without = {name: way for name, way in NETWORKS.items() if way[0] or way[1] == "adversarial"}
    table = defences_table(tables(without))
    assert table.select("baseline", "clean_loss", "relative_seconds").unique().rows() == [(None, None, None)]
    (finding,) = found({"defences": table})
    assert finding.title.endswith("trained is the most robust at ε = 0.1 (L∞): 70.0%")
    assert "loss" not in finding.text


def test_networks_that_differ_in_nothing_are_not_compared():
    alike = {name: way for name, way in NETWORKS.items() if name.startswith("standard")}
    assert defences_table(tables(alike)).is_empty()
    assert defences_table(tables(attacks=())).is_empty()
    assert told(defences_table(tables({}))).is_empty()


def test_the_strength_at_which_networks_differ_is_told_with_the_most_robust_first():
    table = told(defences_table(tables()))
    assert table["strength"].unique().to_list() == [0.1]
    assert table["model"].to_list() == ["trained", "vote", "standard/0", "standard/1"]


def test_the_finding_says_what_is_gained_lost_and_paid():
    (finding,) = found({"defences": defences_table(tables())})
    assert finding.title == (
        "Of the networks of small:cnn, trained is the most robust at ε = 0.1 (L∞): 70.0%, without a clear loss "
        "of clean accuracy"
    )
    assert "vote 30.0% robust (95%: 21.9% to 39.6%), 93.0% clean (loss 4.0 points, 95%: " in finding.text
    assert "1.5 times the training time, 8 times the multiply-adds per image" in finding.text
    assert any("votes over noise" in caveat for caveat in finding.caveats)
    assert not any("AutoAttack was not" in caveat for caveat in finding.caveats)


def test_a_lead_that_may_be_chance_is_no_victory():
    close = NETWORKS | {"vote": ("noise_vote", "standard", 80, 90.0, 93, 75, 65)}
    (finding,) = found({"defences": defences_table(tables(close, attacks=("pgd",)))})
    assert finding.title == (
        "No network of small:cnn is clearly the most robust at ε = 0.1 (L∞): trained leads with 80.0%"
    )
    assert any("AutoAttack was not among" in caveat for caveat in finding.caveats)


def test_the_figure_has_a_panel_of_each_cost_that_is_known():
    (figure,) = draw("defences", tables() | {"defences": defences_table(tables())})
    assert [axes.get_xlabel() for axes in figure.chart.flat] == [
        "Clean accuracy (%)",
        "Seconds of training",
        "Multiply-adds per image",
    ]
    assert figure.chart.svg().count("<title>") == 3 * 4
    assert "vote (defence noise_vote, trained by standard): 30 of 100 robust" in figure.chart.svg()
    loaded = defences_table(tables()).with_columns(seconds=None, multiply_adds=None)
    (alone,) = draw("defences", {"defences": loaded})
    assert len(alone.chart.flat) == 1
