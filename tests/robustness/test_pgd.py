"""PGD: the budget, the algorithm beside independent implementations, and what each setting means."""

from __future__ import annotations

import re

import foolbox
import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import ModelError, ThreatError
from manifoldscope.robustness import PGD, UniformNoise, evaluate
from manifoldscope.robustness.pgd import random_start, step
from tests.robustness.networks import Wrapped, convolutional, fitted, images

PER_PIXEL = 1e-6
"""Float32 rounding: implementations add and clip in another order."""


@pytest.fixture(scope="module")
def known():
    drawn = images()
    return fitted(drawn), drawn


def last_iterates(network, drawn, threat):
    verdicts = evaluate(network, drawn, threat, keep_images=True)
    return verdicts.adversarial[0], verdicts


@pytest.mark.parametrize("epsilon", [4 / 255, 16 / 255])
def test_the_last_iterate_equals_torchattacks_at_a_fixed_start(known, epsilon):
    network, drawn = known
    threat = PGD(epsilon=epsilon, step_size=epsilon / 4, steps=7, random_start=False)
    ours, verdicts = last_iterates(network, drawn, threat)
    assert verdicts.clean_accuracy == 1.0  # else some images were never attacked
    attack = torchattacks.PGD(Wrapped(network).eval(), eps=epsilon, alpha=epsilon / 4, steps=7, random_start=False)
    theirs = attack(network.pixels(drawn), drawn.labels)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=PER_PIXEL)


def test_the_last_iterate_equals_foolbox_at_a_fixed_start(known):
    network, drawn = known
    epsilon = 8 / 255
    ours, _ = last_iterates(network, drawn, PGD(epsilon=epsilon, step_size=0.01, steps=7, random_start=False))
    model = foolbox.PyTorchModel(Wrapped(network).eval(), bounds=(0, 1))
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.01, steps=7, random_start=False)
    _, theirs, _ = attack(model, network.pixels(drawn), drawn.labels, epsilons=epsilon)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=PER_PIXEL)


@settings(max_examples=30, deadline=None)
@given(
    epsilon=st.floats(0, 0.99),
    step_size=st.floats(1e-4, 2.0),
    seed=st.integers(0, 2**32),
)
def test_start_and_step_stay_within_the_budget(epsilon, step_size, seed):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(3, 1, 4, 4, generator=generator)
    clean[0], clean[1] = 0.0, 1.0
    start = random_start(clean, epsilon, generator)
    moved = step(start, torch.randn(clean.shape, generator=generator), clean, epsilon, step_size)
    for iterate in (start, moved):
        assert iterate.min() >= 0
        assert iterate.max() <= 1
        assert (iterate - clean).abs().max() <= epsilon + 1.2e-7  # one rounding of a pixel near 1


def test_the_iterate_is_clipped_and_not_the_step():
    clean = torch.full((1, 1, 1, 1), 0.5)
    at_edge = clean + 0.1
    moved = step(at_edge, torch.ones_like(clean), clean, epsilon=0.1, step_size=0.05)
    assert moved.item() == pytest.approx(0.6)
    back = step(at_edge, -torch.ones_like(clean), clean, epsilon=0.1, step_size=0.25)
    assert back.item() == pytest.approx(0.4)  # a clipped step would have stopped at 0.5


def test_epsilon_zero_is_clean_accuracy():
    drawn = images(40, seed=3)
    verdicts = evaluate(convolutional(), drawn, PGD(epsilon=0, steps=3))
    assert 0 < verdicts.clean_accuracy < 1
    assert verdicts.accuracy == verdicts.accuracy_any == verdicts.clean_accuracy


def test_an_attack_beats_noise_and_more_radius_beats_less(known):
    network, drawn = known
    noise = evaluate(network, drawn, UniformNoise(epsilon=0.1)).accuracy
    small = evaluate(network, drawn, PGD(epsilon=0.02)).accuracy
    large = evaluate(network, drawn, PGD(epsilon=0.3)).accuracy
    assert large < small <= 1
    assert evaluate(network, drawn, PGD(epsilon=0.1)).accuracy < noise
    assert large == 0


def test_the_default_step_size_scales_with_epsilon():
    assert PGD(epsilon=0.1, steps=10).resolved_step_size == pytest.approx(0.025)
    assert PGD(epsilon=0.1, steps=10, relative_step_size=0.1).resolved_step_size == pytest.approx(0.01)
    assert PGD(epsilon=0.1, step_size=0.5).resolved_step_size == 0.5


def test_restarts_fell_at_least_as_many(known):
    network, drawn = known
    one = evaluate(network, drawn, PGD(epsilon=0.05, steps=2))
    many = evaluate(network, drawn, PGD(epsilon=0.05, steps=2, restarts=5))
    # the first restart of `many` is `one`: an image that fell stays fallen
    assert not (many.table["survived_last"] & ~one.table["survived_last"]).any()
    assert many.accuracy <= one.accuracy


def test_any_alone_gives_the_same_verdict_as_both(known):
    network, drawn = known
    threat = PGD(epsilon=0.05, steps=6, restarts=2)
    both, alone = evaluate(network, drawn, threat), evaluate(network, drawn, threat, iterate="any")
    assert both.table["survived_any"].to_list() == alone.table["survived_any"].to_list()
    assert alone.table["survived_last"].null_count() == len(drawn)
    with pytest.raises(ThreatError, match="only the verdict 'any'"):
        _ = alone.accuracy


@pytest.mark.parametrize("target", [2, "random", "least_likely"])
def test_a_targeted_attack_moves_towards_its_target(known, target):
    network, drawn = known
    table = evaluate(network, drawn, PGD(epsilon=0.3, steps=30, target=target)).table
    fallen = table.filter(~table["survived_last"])
    assert len(fallen) >= len(drawn) // 2
    if target == 2:
        assert set(fallen["last_prediction"]) == {2}
        assert table.filter(table["label"] == 2)["survived_last"].all()  # images of the target class stay


def test_the_same_seed_gives_the_same_verdicts_and_images(known):
    network, drawn = known
    threat = PGD(epsilon=0.03, steps=3)
    first, second, other = (evaluate(network, drawn, threat, seed=seed, keep_images=True) for seed in (5, 5, 6))
    assert torch.equal(first.adversarial[0], second.adversarial[0])
    assert first.table.equals(second.table)
    assert not torch.equal(first.adversarial[0], other.adversarial[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, "did you mean 8/255 = 0.0313725?"),
        ({"epsilon": -0.1}, "expected a number from 0 to 1"),
        ({"epsilon": float("nan")}, "expected a number from 0 to 1"),
        ({"epsilon": 0.1, "steps": 0}, "steps = 0; expected at least 1"),
        ({"epsilon": 0.1, "restarts": 0}, "restarts = 0"),
        ({"epsilon": 0.1, "step_size": 0.0}, "expected a positive number"),
        ({"epsilon": 0.1, "step_size": 0.1, "relative_step_size": 0.1}, "expected one of them"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(settings, message):
    with pytest.raises(ThreatError, match=re.escape(message)):
        PGD(**settings)


def test_a_target_that_is_no_class_is_refused(known):
    network, drawn = known
    with pytest.raises(ThreatError, match="the network has classes 0 to 3"):
        evaluate(network, drawn, PGD(epsilon=0.1, target=9))


def test_labels_beyond_the_network_are_refused():
    with pytest.raises(ModelError, match="has 2 outputs, but label 3 occurs"):
        evaluate(convolutional(2), images(), PGD(epsilon=0.1))
