"""The checks: a sound network raises no flag, and each network broken on purpose raises its own."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import torch
from torch import nn

from manifoldscope.attacks import PGD, UniformNoise, evaluate
from manifoldscope.attacks.checks import (
    Evaluated,
    chance,
    collapse_check,
    fast_path_check,
    feasibility,
    feasibility_check,
    minimal_checks,
    network_checks,
    outcome_checks,
    training_check,
)
from manifoldscope.attacks.outcomes import OUTCOMES, FastPath
from manifoldscope.errors import ModelError
from manifoldscope.tables import conform
from tests.attacks.networks import fitted, images


@pytest.fixture(scope="module")
def known():
    drawn = images()
    return fitted(drawn), drawn


def flagged(rows):
    return {row["check"] for row in rows if not row["passed"]}


def test_a_sound_network_raises_no_flag(known):
    network, drawn = known
    assert flagged(network_checks(network, drawn)) == set()


class Rounded(nn.Module):
    """Logits so large that the softmax is 1 in float32, and the gradient of the loss is nought."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixels):
        return 1e4 * self.inner(pixels)


class Noisy(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixels):
        logits = self.inner(pixels)
        return logits + torch.randn_like(logits)


@pytest.mark.parametrize(
    ("broken", "flag"),
    [
        (lambda inner: nn.Sequential(inner, nn.Softmax(dim=1)), "logits"),
        (Rounded, "vanishing gradient"),
        (Noisy, "determinism"),
    ],
)
def test_a_broken_network_raises_its_flag(known, broken, flag):
    network, drawn = known
    assert flag in flagged(network_checks(replace(network, module=broken(network.module)), drawn))


def test_nan_is_an_error(known):
    network, drawn = known
    network = replace(network, std=(1e-45,) * 3)
    with pytest.raises(ModelError, match="NaN or infinity"):
        network_checks(network, drawn)


def test_outcomes_of_a_sound_evaluation_raise_no_flag(known):
    network, drawn = known
    attacks = [PGD(epsilon=epsilon, steps=10) for epsilon in (0, 0.05, 0.1, 0.3)] + [UniformNoise(epsilon=0.1)]
    rows = outcome_checks(evaluate(network, drawn, attacks).table)
    assert {row["check"] for row in rows} == {
        "epsilon 0",
        "epsilon curve (pgd, last)",
        "epsilon curve (pgd, any)",
        "silent success (pgd)",
        "random noise (pgd at 0.1)",
    }
    assert flagged(rows) == set()


def test_a_rising_curve_and_silent_successes_are_flagged(known):
    network, drawn = known
    table = evaluate(network, drawn, [PGD(epsilon=e) for e in (0, 0.1, 0.3)]).table
    upside_down = table.with_columns(
        robust_last=pl.col("strength") > 0.2, robust_any=pl.lit(False), clean_prediction=pl.col("label")
    )
    assert flagged(outcome_checks(upside_down)) == {
        "epsilon 0",
        "epsilon curve (pgd, last)",
        "silent success (pgd)",
    }


def test_a_corruption_must_not_help_as_it_grows_unless_its_severities_are_not_ordered(known):
    network, drawn = known
    table = evaluate(network, drawn, [PGD(epsilon=e) for e in (0.1, 0.3)]).table
    rising = table.with_columns(robust_last=pl.col("strength") > 0.2, robust_any=pl.lit(None, dtype=pl.Boolean))
    assert flagged(outcome_checks(rising, {"pgd": "fog"})) == {"severity curve (pgd, last)"}
    assert outcome_checks(rising, {"pgd": "saturate"}) == []


def test_an_attack_weaker_than_noise_is_flagged(known):
    network, drawn = known
    table = evaluate(network, drawn, [PGD(epsilon=0.3), UniformNoise(epsilon=0.3)]).table
    swapped = table.with_columns(
        attack=pl.when(pl.col("attack") == "pgd").then(pl.lit("noise")).otherwise(pl.lit("pgd"))
    )
    assert flagged(outcome_checks(swapped)) == {"random noise (pgd at 0.3)"}


@pytest.mark.parametrize(
    ("n_correct", "n_images", "n_classes", "near", "guesses"),
    [
        (0, 50, 10, True, True),
        (5, 50, 10, True, True),
        (30, 50, 10, False, False),
        (6, 6, 2, False, False),  # a perfect network is never refused
        (0, 3, 10, True, False),  # too few images to say
        (40, 5000, 1000, True, True),  # labels in another order, of which a few fit
    ],
)
def test_guessing_is_told_by_the_size_of_the_difference(n_correct, n_images, n_classes, near, guesses):
    outcome = chance(n_correct, n_images, n_classes)
    assert (outcome.near, outcome.at_chance) == (near, guesses)


def test_an_unfinished_run_compares_like_with_like(known):
    network, drawn = known
    table = evaluate(network, drawn, [PGD(epsilon=0.05), PGD(epsilon=0.06)]).table
    half = [drawn.names[index] for index in range(0, len(drawn), 2)]
    unfinished = table.filter((pl.col("strength") > 0.055) | pl.col("image").is_in(half))
    assert flagged(outcome_checks(unfinished)) == set()


def test_the_noise_control_is_known_by_its_kind_and_not_by_its_name(known):
    network, drawn = known
    noise = UniformNoise(epsilon=0.3)
    table = evaluate(network, drawn, [PGD(epsilon=0.3), noise], names={noise: "control"}).table
    checks = {row["check"] for row in outcome_checks(table, {"control": "noise", "pgd": "pgd"})}
    assert "random noise (pgd at 0.3)" in checks


def made(**robust):
    """Outcomes on four images of two classes at epsilon 0.6: for each attack, which of them survive."""
    rows = [
        {
            "attack": attack.replace("_", " "),
            "parameters": "",
            "norm": "linf",
            "n_steps": 1 if attack == "one_step" else 10,
            "targeted": False,
            "strength": 0.6,
            "image": str(image),
            "label": image % 2,
            "clean_prediction": image % 2,
            "robust_last": bool(stands),
            "robust_any": None,
        }
        for attack, outcomes in robust.items()
        for image, stands in enumerate(outcomes)
    ]
    return pl.DataFrame(rows, schema_overrides={"robust_any": pl.Boolean})


def test_many_steps_that_find_less_than_one_step_are_flagged():
    table = made(pgd=[1, 1, 0, 0], one_step=[1, 0, 0, 0])
    assert flagged(outcome_checks(table)) == {"iterative beats single-step (pgd and one step at 0.6)"}
    assert flagged(outcome_checks(made(pgd=[1, 0, 0, 0], one_step=[1, 1, 1, 0]))) == set()
    many = pl.col("attack") == "pgd"
    assert flagged(outcome_checks(table.with_columns(targeted=many))) == set()  # it aims elsewhere
    in_other_balls = table.with_columns(norm=pl.when(many).then(pl.lit("l2")).otherwise("norm"))
    assert flagged(outcome_checks(in_other_balls)) == set()


def test_more_than_chance_at_an_epsilon_that_allows_any_image_is_flagged_if_there_are_many_steps():
    assert flagged(outcome_checks(made(pgd=[1, 1, 1, 0]))) == {"large epsilon (pgd at 0.6)"}
    assert flagged(outcome_checks(made(one_step=[1, 1, 1, 1]))) == set()
    assert outcome_checks(made(pgd=[1, 1, 1, 0]).with_columns(strength=pl.lit(0.3))) == []
    assert outcome_checks(made(noise=[1, 1, 1, 1])) == []


def test_the_worst_case_is_taken_image_by_image():
    row = next(row for row in outcome_checks(made(a=[1, 1, 0, 0], b=[0, 1, 1, 0])) if "aggregation" in row["check"])
    assert row["value"] == 1 / 4
    assert row["note"] == "1 of 4 images are robust to all 2 attacks; 2 to a, the strongest one alone"


def test_kept_images_are_held_to_their_ball_and_to_numbers():
    clean = torch.full((3, 1, 2, 2), 0.5)
    attack = PGD(epsilon=0.1)
    sound = feasibility(clean, clean + 0.1, attack)
    assert feasibility_check("pgd", [sound])["passed"]
    too_far = feasibility(clean, clean + 0.1 + 1 / 510, attack)  # as after rounding to 8 bits
    assert not feasibility_check("pgd", [sound, too_far])["passed"]
    levels = torch.full((3, 1, 2, 2), 128, dtype=torch.uint8)
    in_levels = feasibility(levels / 255, levels + 8, PGD(epsilon=8 / 255))
    assert feasibility_check("pgd", [in_levels])["passed"]
    assert not feasibility_check("pgd", [feasibility(levels / 255, levels + 9, PGD(epsilon=8 / 255))])["passed"]
    broken = clean.clone()
    broken[1, 0, 0, 0] = float("nan")
    row = feasibility_check("pgd", [sound, feasibility(clean, broken, attack)])
    assert not row["passed"]
    assert row["note"] == "6 images of the classes with examples, stored as float32; 1 hold NaN or infinity"


def test_a_faster_copy_is_judged_by_all_its_samples():
    parts = [FastPath("channels last", 20, 0), FastPath("channels last", 20, 1)]
    row = fast_path_check("pgd", parts)
    assert (row["passed"], row["value"]) == (False, 1 / 40)
    assert "of 40 images attacked both ways the network's own gradients misclassify 1 more" in row["note"]
    assert "so that of all images they would at most 11.3%" in row["note"]
    assert fast_path_check("pgd", [*parts, FastPath("channels last", 60, 0)])["passed"]
    assert fast_path_check("pgd", [FastPath("channels last", 0, 0)])["passed"] is None


def test_a_training_that_ends_at_the_loss_of_guessing_is_flagged():
    assert training_check([2.31, 1.2], 10)["passed"]
    assert not training_check([2.5, 2.30], 10)["passed"]
    assert training_check([0.9, 0.3], 2)["passed"]


def test_a_training_that_collapses_is_flagged_and_one_that_only_wavers_is_not():
    def row(*survivors, n_images=200):
        return collapse_check([Evaluated(epoch, n_images, *both) for epoch, both in enumerate(survivors, start=1)])

    collapsed = row((90, 60), (120, 90), (190, 3))
    assert (collapsed["passed"], collapsed["value"]) == (False, 87 / 200)
    assert collapsed["note"] == ("epoch 2: 90 of 200 are robust to PGD and 120 FGSM; epoch 3, the last: 3 and 190")
    assert row((90, 60), (120, 90), (130, 95))["passed"]  # it rises
    assert row((120, 90), (190, 3), (130, 96))["passed"]  # what is judged is the network at the end
    assert row((120, 90), (125, 75))["passed"]  # a fall within its interval
    assert row((120, 90), (60, 20))["passed"]  # worse under both: the training is bad, and hides nothing
    assert row((12, 9), (14, 5), n_images=20)["passed"]  # few images
    assert not row((150, 20), (190, 60))["passed"]  # it rises, and has withstood one step alone all the time
    assert row((2, 1), (5, 2), n_images=5)["passed"]  # so few images that the gap may be chance
    assert row((190, 3))["passed"] is None


def test_a_curve_that_falls_by_construction_is_not_judged(known):
    network, drawn = known
    table = evaluate(network, drawn, [PGD(epsilon=e) for e in (0.1, 0.3)], iterate="any", reuse=True).table
    (row,) = (row for row in outcome_checks(table, reused=["pgd"]) if row["check"] == "epsilon curve (pgd, any)")
    assert row["passed"] is None
    assert "proves nothing" in row["note"]
    assert any(row["check"] == "epsilon curve (pgd, any)" and row["passed"] for row in outcome_checks(table))


def searched(attack, distances, *, largest=0.5, label=0):
    """A search in the table of outcomes, image by image."""
    one = {"attack": attack, "norm": "linf", "strength": largest, "label": label, "clean_prediction": 0}
    return [one | {"image": str(place), "minimal_epsilon": away} for place, away in enumerate(distances)]


def at_epsilon(attack, robust, epsilon, *, norm="linf"):
    """An attack at one epsilon, image by image."""
    one = {"attack": attack, "norm": norm, "strength": epsilon, "label": 0, "clean_prediction": 0}
    return [one | {"image": str(place), "robust_any": each} for place, each in enumerate(robust)]


def minimal_rows(rows):
    return minimal_checks(conform(OUTCOMES, [{"model": "m", "parameters": "", **row} for row in rows]))


def test_a_search_whose_distances_other_attacks_refute_is_flagged():
    lost = searched("fmn", [float("inf")] * 3 + [0.1] * 17)
    (row,) = minimal_rows(lost + at_epsilon("pgd", [False] * 3 + [True] * 17, 0.3))
    assert (row["check"], row["passed"], row["value"]) == ("minimal epsilon (fmn)", False, 0.15)
    assert row["note"].startswith("3 of 20 images, most of them by pgd; 3 were not found at all")
    both = minimal_rows(lost + searched("pgd", [0.2] * 3 + [0.1] * 17))
    assert len(both) == 2
    assert flagged(both) == {"minimal epsilon (fmn)"}


@pytest.mark.parametrize(
    "others",
    [
        [],
        at_epsilon("pgd", [False] * 20, 0.05, norm="l2"),
        at_epsilon("pgd", [True] * 20, 0.05),
        at_epsilon("pgd", [False] * 20, 0.095),
        at_epsilon("pgd", [False] + [True] * 19, 0.01),
    ],
    ids=["alone", "another norm", "robust", "hardly nearer", "one image of twenty"],
)
def test_a_search_that_is_not_refuted_raises_no_flag(others):
    assert flagged(minimal_rows(searched("fmn", [0.1] * 20) + others)) == set()


def test_what_another_attack_finds_beyond_the_largest_radius_refutes_no_search():
    found = at_epsilon("pgd", [False] * 20, 0.3)
    assert flagged(minimal_rows(searched("fmn", [float("inf")] * 20, largest=0.1) + found)) == set()
    assert minimal_rows(searched("fmn", [0.0] * 20, label=1) + found) == []
