"""Networks broken on purpose, in the ways that make evaluations too good: each must raise its flag."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from manifoldscope.attacks import PGD, UniformNoise, evaluate
from manifoldscope.attacks.checks import network_checks, outcome_checks
from manifoldscope.attacks.selftest import _rescaled, attack_checks
from manifoldscope.errors import DataError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.preprocessing import Preprocessing
from tests.attacks.networks import fitted, images

THREAT = PGD(epsilon=0.1, steps=10)


@pytest.fixture(scope="module")
def known():
    drawn = images(48)
    return fitted(drawn), drawn


def flagged(rows):
    """The names of the checks that failed, without the attack that they are about."""
    return {row["check"].partition(" (")[0] for row in rows if row["passed"] is False}


class Around(nn.Module):
    """A network within another one."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class RoundedInputs(Around):
    """A step in the way of the gradient: pixels of 32 levels."""

    def forward(self, pixels):
        return self.inner((pixels * 32).round() / 32)


class RandomLayer(Around):
    """Noise in the forward pass, also in evaluation mode."""

    def forward(self, pixels):
        return self.inner(pixels + 0.05 * torch.randn_like(pixels))


class Saturated(Around):
    """Logits so large that the softmax is 1 in float32 for nearly every image."""

    def __init__(self, inner, scale):
        super().__init__(inner)
        self.scale = scale

    def forward(self, pixels):
        return self.scale * self.inner(pixels)


class Counting(Around):
    """A buffer that each pass changes, as batch norm does in training mode."""

    def __init__(self, inner):
        super().__init__(inner)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, pixels):
        self.passes += 1
        return self.inner(pixels)


class In255(Preprocessing):
    """Pixels as 8-bit files have them, where [0, 1] is meant."""

    def __call__(self, image):
        return 255 * super().__call__(image)


def broken(network, module):
    return replace(network, module=module)


@pytest.mark.parametrize(
    ("plant", "flag"),
    [
        (lambda inner: nn.Sequential(inner, nn.Softmax(dim=1)), "logits"),
        (RoundedInputs, "vanishing gradient"),
        (RandomLayer, "determinism"),
        (lambda inner: Saturated(inner, 1e4), "vanishing gradient"),
    ],
)
def test_what_needs_no_attack_to_be_seen(known, plant, flag):
    network, drawn = known
    assert flag in flagged(network_checks(broken(network, plant(network.module)), drawn))


def test_a_buffer_that_changes_in_evaluation_mode(known):
    network, drawn = known
    with pytest.warns(UserWarning, match="changed the buffer 'passes'"):
        rows = network_checks(broken(network, Counting(network.module)), drawn)
    assert flagged(rows) == {"state"}


def test_pixels_up_to_255(known):
    network, drawn = known
    with pytest.raises(DataError, match="divide by 255"):
        ImageSet.of(255 * network.pixels(drawn), drawn.labels)
    scaled = replace(network, preprocessing=In255(channels=3))
    assert "input contract" in flagged(network_checks(scaled, drawn))


def test_masked_gradients_fall_to_a_search_without_them(known):
    pytest.importorskip("pyautoattack", reason="pip install pyautoattack")
    network, drawn = known
    masked = broken(network, RoundedInputs(network.module))
    assert "gradient-free" in flagged(attack_checks(masked, drawn, replace(THREAT, epsilon=0.2)).rows)


def test_a_saturated_softmax_shows_at_another_scale(known):
    network, drawn = known
    rows = attack_checks(broken(network, Saturated(network.module, 10)), drawn, replace(THREAT, epsilon=0.2)).rows
    assert "rescaled logits" in flagged(rows)


@pytest.mark.parametrize(("n_more", "passed"), [(0, True), (2, True), (4, True), (8, False)])
def test_as_many_as_chance_and_a_sharper_loss_find_at_another_scale_are_no_saturation(known, n_more, passed):
    """Of 200 images up to five, on the networks of the benchmarks with adversarial training."""
    robust = torch.ones(200, dtype=torch.bool)
    left = robust.clone()
    left[:n_more] = False
    row = _rescaled(known[0], robust, THREAT, lambda attack, of: left, "pgd")
    assert row["passed"] is passed
    assert ("those of autoattack" in row["note"]) is not passed


def test_an_attack_of_too_few_steps_has_not_converged(known):
    network, drawn = known
    rows = attack_checks(network, drawn, PGD(epsilon=0.3, steps=2, step_size=0.05, random_start=False)).rows
    assert "convergence" in flagged(rows)


def test_the_curves_by_step_end_where_the_attacks_do(known):
    network, drawn = known
    once, twice = attack_checks(network, drawn, THREAT, batch_size=20).curves
    assert (len(once.n_robust), len(twice.n_robust)) == (11, 21)
    for curve, attack in ((once, THREAT), (twice, replace(THREAT, steps=20))):
        assert curve.parameters == attack.parameters
        assert curve.n_images == len(drawn)
        assert list(curve.n_robust) == sorted(curve.n_robust, reverse=True)
        found = evaluate(network, drawn, attack, iterate="any", batch_size=20, fast=False)
        assert curve.n_robust[-1] == found.table["robust_any"].sum()


def test_a_sound_network_raises_no_flag(known):
    network, drawn = known
    attacks = [PGD(epsilon=epsilon, steps=10) for epsilon in (0, 0.05, 0.1, 0.6)]
    names = {PGD(epsilon=epsilon, steps=1): "one step" for epsilon in (0.05, 0.1)}
    table = evaluate(network, drawn, [*attacks, *names, UniformNoise(epsilon=0.1)], names=names).table
    rows = [
        *network_checks(network, drawn),
        *outcome_checks(table, {"one step": "pgd"}),
        *attack_checks(network, drawn, THREAT).rows,
    ]
    assert flagged(rows) == set()
    ran = {row["check"].partition(" (")[0] for row in rows if row["passed"] is not None}
    assert {"large epsilon", "iterative beats single-step", "aggregation", "rescaled logits", "restarts"} <= ran
