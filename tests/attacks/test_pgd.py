"""PGD: the budget, the algorithm beside independent implementations, and what each setting means."""

from __future__ import annotations

import re
from dataclasses import replace

import foolbox
import polars as pl
import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.attacks import FGSM, PGD, UniformNoise, evaluate
from manifoldscope.attacks.ball import random_start
from manifoldscope.attacks.perturbation import Rows, Seen
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from tests.attacks.networks import Wrapped, convolutional, fitted, images

PER_PIXEL = 1e-6
"""Float32 rounding: implementations add and clip in another order."""


@pytest.fixture(scope="module")
def known():
    drawn = images()
    return fitted(drawn), drawn


def stepped(attack, clean, images, gradient, *, loss=None):
    """One step of an attack from these images, along this gradient."""
    n = len(clean)
    rows = Rows(torch.arange(n), torch.zeros(n), clean, torch.zeros(n, dtype=torch.int64), clean.new_empty(n, 0), [])
    state = replace(attack, random_start=False).start(rows) | {"images": images}
    nothing = clean.new_zeros(n) if loss is None else loss
    return attack.step(rows, state, Seen(clean.new_empty(n, 0), nothing, gradient, nothing.bool()))


def last_iterates(network, drawn, attack):
    outcomes = evaluate(network, drawn, attack, keep_images=True)
    return outcomes.adversarial[0], outcomes


@pytest.mark.parametrize("epsilon", [4 / 255, 16 / 255])
def test_the_last_iterate_equals_torchattacks_at_a_fixed_start(known, epsilon):
    network, drawn = known
    attack = PGD(epsilon=epsilon, step_size=epsilon / 4, steps=7, random_start=False)
    ours, outcomes = last_iterates(network, drawn, attack)
    assert outcomes.clean_accuracy == 1.0  # else some images were never attacked
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
    start = random_start(clean, torch.full((3,), epsilon), generator)
    attack = PGD(epsilon=epsilon, step_size=step_size)
    moved = stepped(attack, clean, start, torch.randn(clean.shape, generator=generator))["images"]
    for iterate in (start, moved):
        assert iterate.min() >= 0
        assert iterate.max() <= 1
        assert (iterate - clean).abs().max() <= epsilon + 1.2e-7  # one rounding of a pixel near 1


def test_the_iterate_is_clipped_and_not_the_step():
    clean = torch.full((1, 1, 1, 1), 0.5)
    at_edge = clean + 0.1
    moved = stepped(PGD(epsilon=0.1, step_size=0.05), clean, at_edge, torch.ones_like(clean))["images"]
    assert moved.item() == pytest.approx(0.6)
    back = stepped(PGD(epsilon=0.1, step_size=0.25), clean, at_edge, -torch.ones_like(clean))["images"]
    assert back.item() == pytest.approx(0.4)  # a clipped step would have stopped at 0.5


def test_epsilon_zero_is_clean_accuracy():
    drawn = images(40, seed=3)
    outcomes = evaluate(convolutional(), drawn, PGD(epsilon=0, steps=3))
    assert 0 < outcomes.clean_accuracy < 1
    assert outcomes.robust_accuracy == outcomes.robust_accuracy_any == outcomes.clean_accuracy


def test_epsilon_zero_takes_one_step(known):
    network, drawn = known
    shown = []
    hook = network.module.register_forward_hook(lambda module, given, output: shown.append(len(output)))
    evaluate(network, drawn, PGD(epsilon=0, steps=20), fast=False)
    hook.remove()
    assert sum(shown) <= 3 * len(drawn) + 4  # clean, first and last; and what tells how many fit
    assert PGD(epsilon=0, steps=20, restarts=2).passes == (2, 2)


def test_an_attack_beats_noise_and_more_radius_beats_less(known):
    network, drawn = known
    noise = evaluate(network, drawn, UniformNoise(epsilon=0.1)).robust_accuracy
    small = evaluate(network, drawn, PGD(epsilon=0.02)).robust_accuracy
    large = evaluate(network, drawn, PGD(epsilon=0.3)).robust_accuracy
    assert large < small <= 1
    assert evaluate(network, drawn, PGD(epsilon=0.1)).robust_accuracy < noise
    assert large == 0


def test_the_default_step_size_scales_with_epsilon():
    assert PGD(epsilon=0.1, steps=10).resolved_step_size == pytest.approx(0.025)
    assert PGD(epsilon=0.1, steps=10, relative_step_size=0.1).resolved_step_size == pytest.approx(0.01)
    assert PGD(epsilon=0.1, step_size=0.5).resolved_step_size == 0.5


def test_restarts_misclassify_at_least_as_many(known):
    network, drawn = known
    one = evaluate(network, drawn, PGD(epsilon=0.05, steps=2))
    many = evaluate(network, drawn, PGD(epsilon=0.05, steps=2, restarts=5))
    # the first restart of `many` is `one`: what it misclassifies stays so
    assert not (many.table["robust_last"] & ~one.table["robust_last"]).any()
    assert many.robust_accuracy <= one.robust_accuracy


def test_any_alone_gives_the_same_outcome_as_both(known):
    network, drawn = known
    attack = PGD(epsilon=0.05, steps=6, restarts=2)
    both, alone = evaluate(network, drawn, attack), evaluate(network, drawn, attack, iterate="any")
    assert both.table["robust_any"].to_list() == alone.table["robust_any"].to_list()
    assert alone.table["robust_last"].null_count() == len(drawn)
    with pytest.raises(AttackError, match="only the outcome 'any'"):
        _ = alone.robust_accuracy


@pytest.mark.parametrize("target", [2, "random", "least_likely"])
def test_a_targeted_attack_moves_towards_its_target(known, target):
    network, drawn = known
    table = evaluate(network, drawn, PGD(epsilon=0.3, steps=30, target=target)).table
    misclassified = table.filter(~table["robust_last"])
    assert len(misclassified) >= len(drawn) // 2
    if target == 2:
        assert set(misclassified["last_prediction"]) == {2}
        assert table.filter(table["label"] == 2)["robust_last"].all()  # images of the target class stay


def test_the_same_seed_gives_the_same_outcomes_and_images(known):
    network, drawn = known
    attack = PGD(epsilon=0.03, steps=3)
    first, second, other = (evaluate(network, drawn, attack, seed=seed, keep_images=True) for seed in (5, 5, 6))
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
    with pytest.raises(AttackError, match=re.escape(message)):
        PGD(**settings)


def test_momentum_that_would_exceed_float32_is_refused():
    """Velocities of infinity and NaN would leave images where they are, and look robust."""
    with pytest.raises(AttackError, match=r"momentum = 10 in 40 steps adds up to more than float32 holds"):
        PGD(epsilon=0.1, momentum=10, steps=40)
    assert PGD(epsilon=0.1, momentum=2, steps=100).momentum == 2


def test_a_target_that_is_no_class_is_refused(known):
    network, drawn = known
    with pytest.raises(AttackError, match="the network has classes 0 to 3"):
        evaluate(network, drawn, PGD(epsilon=0.1, target=9))


def test_labels_beyond_the_network_are_refused():
    with pytest.raises(ModelError, match="has 2 outputs, but label 3 occurs"):
        evaluate(convolutional(2), images(), PGD(epsilon=0.1))


# Norms, losses, momentum, and which iterate counts


@pytest.mark.parametrize("loss", ["ce", "cw", "dlr"])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.2), ("l2", 2.0)])
def test_every_loss_misclassifies_images_within_either_ball(known, norm, epsilon, loss):
    network, drawn = known
    attack = PGD(epsilon=epsilon, norm=norm, loss=loss, steps=20)
    attacked, outcomes = last_iterates(network, drawn, attack)
    assert outcomes.robust_accuracy < 0.5
    away = (attacked - network.pixels(drawn)).flatten(1)
    size = away.abs().amax(1) if norm == "linf" else away.norm(dim=1)
    assert float(size.max()) <= epsilon + 1e-6
    assert float(size.max()) > 0.9 * epsilon


def test_the_l2_iterate_equals_torchattacks_at_a_fixed_start(known):
    _, drawn = known
    network = fitted(drawn, steps=25)  # a surer one has gradients whose squares underflow in theirs
    attack = PGD(epsilon=0.5, norm="l2", step_size=0.1, steps=7, random_start=False)
    ours, outcomes = last_iterates(network, drawn, attack)
    assert outcomes.clean_accuracy == 1.0
    attack = torchattacks.PGDL2(
        Wrapped(network).eval(), eps=0.5, alpha=0.1, steps=7, random_start=False, eps_for_division=1e-30
    )
    torch.testing.assert_close(ours, attack(network.pixels(drawn), drawn.labels), rtol=0, atol=PER_PIXEL)


def test_momentum_equals_torchattacks(known):
    network, drawn = known
    attack = PGD(epsilon=8 / 255, step_size=2 / 255, steps=7, momentum=1.0, random_start=False)
    ours, _ = last_iterates(network, drawn, attack)
    attack = torchattacks.MIFGSM(Wrapped(network).eval(), eps=8 / 255, alpha=2 / 255, steps=7, decay=1.0)
    torch.testing.assert_close(ours, attack(network.pixels(drawn), drawn.labels), rtol=0, atol=PER_PIXEL)


def test_the_best_iterate_has_no_smaller_loss_than_the_last(known):
    network, drawn = known
    last, best = (
        last_iterates(network, drawn, PGD(epsilon=0.2, step_size=0.39, steps=5, returns=returns))[0]
        for returns in ("last", "best")
    )
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(network(images), drawn.labels, reduction="none")
            for images in (last, best)
        ]
    assert bool((losses[1] >= losses[0] - 1e-5).all())
    assert bool((losses[1] > losses[0] + 1e-3).any())  # steps this long overshoot


def test_the_best_iterate_is_found_although_a_loss_is_nan():
    attack = PGD(epsilon=0.5, steps=4, returns="best", random_start=False)
    clean = torch.zeros(1, 1, 1, 1)
    rows = Rows(torch.arange(1), torch.zeros(1), clean, torch.tensor([0]), clean.new_empty(1, 0), [])
    state = attack.start(rows)
    for number, loss in enumerate([0.1, torch.nan, 5.0, 1.0, 0.0]):
        state["images"] = torch.full((1, 1, 1, 1), number / 10)
        seen = Seen(clean.new_empty(1, 0), torch.tensor([loss]), torch.zeros_like(clean), torch.tensor([False]))
        state = attack.step(rows, state, seen)
    assert attack.finished(state).all()
    assert (state["images"].item(), state["highest"].item()) == pytest.approx((0.2, 5.0))


def test_a_start_is_uniform_in_the_l2_ball():
    clean = torch.full((4000, 1, 1, 2), 0.5)
    away = (
        (random_start(clean, torch.full((4000,), 0.3), torch.Generator().manual_seed(0), "l2") - clean)
        .flatten(1)
        .norm(dim=1)
    )
    assert float(away.max()) <= 0.3
    assert float((away < 0.3 / 2**0.5).float().mean()) == pytest.approx(0.5, abs=0.03)  # half of the area


@pytest.mark.parametrize("loss", ["cw", "dlr"])
@pytest.mark.parametrize("target", ["random", "least_likely"])
def test_targeted_losses_reach_their_goal(known, loss, target):
    network, drawn = known
    outcomes = evaluate(network, drawn, PGD(epsilon=0.3, steps=40, loss=loss, target=target))
    assert outcomes.robust_accuracy < 0.2


def test_the_ratio_refuses_too_few_classes():
    drawn = images(12, n_classes=2)
    with pytest.raises(AttackError, match="needs at least 3 classes"):
        evaluate(convolutional(2), drawn, PGD(epsilon=0.1, loss="dlr"))


def test_one_step_is_pgd_of_one_step_and_weaker_than_many(known):
    network, drawn = known
    one, _ = last_iterates(network, drawn, FGSM(epsilon=0.05))
    same, _ = last_iterates(network, drawn, PGD(epsilon=0.05, steps=1, relative_step_size=1.0, random_start=False))
    assert torch.equal(one, same)
    many = evaluate(network, drawn, PGD(epsilon=0.05, steps=20))
    assert many.robust_accuracy <= evaluate(network, drawn, FGSM(epsilon=0.05, random_start=True)).robust_accuracy
    with pytest.raises(AttackError, match="random_start = true"):
        FGSM(epsilon=0.05, restarts=3)


# The faster copy, and sweeps


def test_a_faster_copy_changes_no_outcome_here_and_says_how_it_was_checked():
    drawn = images(120)
    network = fitted(drawn)
    fast, plain = (evaluate(network, drawn, PGD(epsilon=0.105, steps=10), fast=fast) for fast in (True, False))
    assert fast.fast.means.startswith("batch norm folded, channels last")
    assert (fast.fast.n_checked, fast.fast.n_differ) == (3, 0)
    assert plain.fast is None
    assert fast.table["robust_last"].equals(plain.table["robust_last"])
    assert 0 < plain.robust_accuracy < 1


@pytest.mark.parametrize("iterate", ["both", "any"])
def test_what_a_faster_copy_says_is_not_believed(iterate):
    """A copy that is another network altogether finds gradients, and misclassifies nothing by its own word."""
    drawn = images(60)
    network = fitted(drawn)
    wrong = Network(convolutional(4, seed=5).module, mean=network.mean, std=network.std)
    liar = FastNetwork(wrong, ("another network",))
    found = evaluate(network, drawn, PGD(epsilon=1e-6, steps=3), fast=liar, iterate=iterate)
    assert found.robust_accuracy_any == found.clean_accuracy == 1.0


def test_what_a_faster_copy_misses_is_counted():
    drawn = images(120)
    network = fitted(drawn)
    blind = Network(convolutional(4, seed=5).module, mean=network.mean, std=network.std)
    with torch.no_grad():
        for parameter in blind.module.parameters():
            parameter.zero_()
    plain = evaluate(network, drawn, PGD(epsilon=0.2, steps=10), iterate="any", fast=False)
    found = evaluate(network, drawn, PGD(epsilon=0.2, steps=10), iterate="any", fast=FastNetwork(blind, ("blind",)))
    assert plain.robust_accuracy_any == 0
    assert (found.fast.n_checked, found.fast.n_differ) == (3, 3)


def test_a_sweep_that_reuses_outcomes_agrees_with_separate_runs():
    drawn = images(120)
    network = fitted(drawn)
    attacks = [PGD(epsilon=epsilon, steps=10) for epsilon in (0.13, 0.09, 0.11)]
    together = evaluate(network, drawn, attacks, iterate="any", reuse=True)
    apart = evaluate(network, drawn, attacks, iterate="any")
    assert together.table["strength"].unique().sort().to_list() == pytest.approx([0.09, 0.11, 0.13])
    both = together.table.join(apart.table, on=["image", "strength"], suffix="_apart")
    assert not both.filter(pl.col("robust_any") & ~pl.col("robust_any_apart")).height  # never weaker
    differ = both.filter(pl.col("robust_any") != pl.col("robust_any_apart")).height
    assert differ <= 0.02 * both.height
    with pytest.raises(AttackError, match="reuse needs iterate='any'"):
        evaluate(network, drawn, attacks, reuse=True)


def test_images_that_leave_and_passes_that_are_filled_change_no_outcome():
    drawn = images(60)
    network = fitted(drawn)
    every_third = torch.arange(60) % 3 == 0
    wrong = ImageSet.of(network.pixels(drawn), torch.where(every_third, (drawn.labels + 1) % 4, drawn.labels))
    attack = PGD(epsilon=0.11, steps=8)
    any_alone = evaluate(network, wrong, attack, iterate="any", fast=False)
    both = evaluate(network, wrong, attack, fast=False)
    assert any_alone.clean_accuracy == pytest.approx(2 / 3)
    assert any_alone.table["robust_any"].equals(both.table["robust_any"])
    assert 0 < any_alone.robust_accuracy_any < 2 / 3
