"""Strengths and measures as people write them."""

from __future__ import annotations

import pytest

from manifoldscope.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (0.0, "0"), (8 / 255, "8/255"), (0.0002, "0.0002"), (0.0125, "0.0125"), (3.0, "3")],
)
def test_strengths_read_as_people_write_them(value: float, text: str) -> None:
    assert words.strength(value) == text


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("pca_dimension", "fraction=0.95", "PCA dimension (95% of variance)"),
        ("pca_dimension", "fraction=0.9 scaling=standardise", "PCA dimension (90% of variance, standardised features)"),
        ("participation_ratio", "", "Participation ratio"),
        ("my_measure", "k=3", "my measure (k=3)"),
        ("capacity", "directions=300 margin=0 common=true seed=0", "Capacity"),
        (
            "centroid_distance",
            "unit=radius corrected=true",
            "Centroid distance (in radii, corrected for sampling)",
        ),
        ("effective_alignment", "of=centres and axes directions=200", "Effective alignment (of centres and axes)"),
    ],
)
def test_measures_read_as_words(name: str, parameters: str, text: str) -> None:
    assert words.measure(name, parameters) == text


def test_a_defence_and_the_classes_that_a_network_is_trained_on_are_told() -> None:
    training = {"objective": "standard", "epochs": 4, "n_classes": 5}
    models = [{"name": "vote", "source": "small:cnn", "defence": {"name": "noise_vote"}, "training": training}]
    told = dict(words.asked({"models": models}))
    assert told["Networks"] == "vote (small:cnn, defence noise_vote, standard training on five classes for four epochs)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("r = -0.41 (-.6 to +0.2)", "r = −0.41 (−.6 to +0.2)"),
        ("| -1 | 2-3 | 1e-05 | - |", "| −1 | 2-3 | 1e-05 | - |"),
        ("`--shift -1` and\n```\nrun x -1\n```\n", "`--shift -1` and\n```\nrun x -1\n```\n"),
        ("[page -1](figures/a -1.svg), L-infinity, p-values", "[page −1](figures/a -1.svg), L-infinity, p-values"),
    ],
)
def test_negative_numbers_of_prose_have_a_real_minus_and_code_is_left_alone(text: str, told: str) -> None:
    assert words.real_minus(text) == told
