"""Rotations and translations: where pixels go, and that every pose counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from manifoldscope.attacks import PGD, Rotation, Translation, UniformNoise, evaluate
from manifoldscope.attacks.checks import outcome_checks
from manifoldscope.attacks.geometric import rotated, translated
from manifoldscope.errors import AttackError
from manifoldscope.study.challenges import AttackPlan
from manifoldscope.vision.images import ImageSet
from tests.attacks.networks import convolutional, fitted, images


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact_and_counter_clockwise(quarters):
    image = torch.rand(2, 3, 6, 6)
    turned = rotated(image, torch.full((2,), 90.0 * quarters))
    torch.testing.assert_close(turned, image.rot90(quarters, (2, 3)), atol=1e-5, rtol=0)


def test_a_wide_image_turns_without_being_sheared():
    image = torch.zeros(1, 1, 9, 15)
    image[..., 4, 7:11] = 1  # from the centre to the right
    upwards = torch.zeros(1, 1, 9, 15)
    upwards[..., 1:5, 7] = 1
    torch.testing.assert_close(rotated(image, torch.tensor([90.0])), upwards, atol=1e-5, rtol=0)


def test_each_image_has_its_own_movement_and_zeros_come_from_outside():
    image = torch.rand(2, 1, 4, 8)
    moved = translated(image, torch.tensor([[0.25, 0.0], [0.0, -0.25]]))
    expected = torch.zeros_like(image)
    expected[0, :, 1:] = image[0, :, :-1]
    expected[1, :, :, :-2] = image[1, :, :, 2:]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


class RightEdge(nn.Module):
    """Class 1 where the last column is bright."""

    def forward(self, pixels):
        bright = pixels[..., -1].flatten(1).mean(1)
        return torch.stack([0.5 - bright, bright - 0.5], dim=1)


def test_one_pose_that_falls_is_enough():
    network = replace(convolutional(2, channels=1), module=RightEdge(), mean=(0.0,), std=(1.0,))
    pixels = torch.zeros(2, 1, 8, 8)
    pixels[0, ..., 6] = 1  # a pixel to the right, and it is at the edge
    pixels[1, ..., 3] = 1
    drawn = ImageSet.of(pixels, [0, 0], class_names=["dark", "bright"])
    found = evaluate(network, drawn, Translation(shift=1 / 8, candidates=9), keep_images=True)
    assert found.table["robust_last"].to_list() == [False, True]
    assert found.adversarial[0][0, ..., -1].mean() > 0.5


@pytest.mark.parametrize("make", [lambda **s: Rotation(degrees=40.0, **s), lambda **s: Translation(shift=0.12, **s)])
def test_random_poses_depend_on_the_seed_and_not_on_who_is_still_robust(make):
    drawn = images()
    network = fitted(drawn)
    attack = make(choice="random", candidates=4)
    both = evaluate(network, drawn, attack, seed=1).table["robust_last"].to_list()
    assert evaluate(network, drawn, attack, seed=1, iterate="any").table["robust_last"].to_list() == both
    assert 0 < sum(both) < len(both)


def test_no_movement_leaves_clean_accuracy():
    drawn = images()
    network = fitted(drawn)
    outcomes = evaluate(network, drawn, [Rotation(degrees=0, candidates=3), Translation(shift=0, candidates=4)])
    assert outcomes.robust_accuracy == outcomes.clean_accuracy


def test_noise_controls_balls_and_not_movements_of_the_same_number():
    drawn = images()
    attacks = [Translation(shift=0.1, candidates=4), UniformNoise(epsilon=0.1), PGD(epsilon=0.1, steps=1)]
    controls = [row["check"] for row in outcome_checks(evaluate(fitted(drawn), drawn, attacks).table)]
    assert [name for name in controls if name.startswith("random noise")] == ["random noise (pgd at 0.1)"]


def test_a_study_sweeps_degrees_and_shifts():
    turned = AttackPlan.model_validate({"kind": "rotation", "degrees": [10, 30], "candidates": 5})
    assert [attack.strength for attack in turned.perturbations()] == [10, 30]
    moved = AttackPlan.model_validate({"kind": "translation", "shifts": [0.1]})
    assert moved.perturbations() == [Translation(shift=0.1)]
    assert AttackPlan.model_validate(turned.model_dump()) == turned


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rotation(degrees=200), "expected an angle from 0 to 180"),
        (lambda: Rotation(degrees=5, candidates=1), "expected at least 2 with 'grid'"),
        (lambda: Translation(shift=3), "a movement of 3 in 32 pixels is 3/32"),
        (lambda: Translation(shift=0.1, candidates=10), "expected a square number"),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(AttackError, match=message):
        make()
