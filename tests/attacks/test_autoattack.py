"""AutoAttack and its parts: at least as strong as PGD and as their authors' code, repeatable, and without a trace."""

from __future__ import annotations

import logging
import random
import re
from dataclasses import replace

import numpy as np
import pyautoattack
import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack
from torch import nn

from manifoldscope.attacks import APGDCE, APGDDLR, APGDT, FABT, FMN, PGD, AutoAttack, Square, evaluate
from manifoldscope.attacks.outcomes import Failures
from manifoldscope.attacks.perturbation import Rows, Seen
from manifoldscope.errors import AttackError
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.memory import Memory
from tests.attacks.networks import Wrapped, convolutional, fitted, images

EPSILONS = {"linf": 0.12, "l2": 1.3}
"""Where some of the images are robust and some are not."""
SHORT = {
    APGDCE: {"steps": 20},
    APGDDLR: {"steps": 20},
    APGDT: {"steps": 20, "targets": 3},
    FABT: {"steps": 50, "targets": 3},
    FMN: {"steps": 100},
    Square: {"queries": 100, "rescale_schedule": True},
    AutoAttack: {"steps": 10, "targets": 3, "queries": 50},
}
every_attack = pytest.mark.parametrize("attack", list(SHORT), ids=lambda attack: attack.kind)
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


@pytest.fixture(scope="module")
def known():
    drawn = images(48)
    return fitted(drawn), drawn


class Stepped(nn.Module):
    """A network that sees pixels in steps of 1/64: its logits hardly change, and its gradient is zero everywhere."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixels):
        return self.inner((pixels * 64).round() / 64)


def stepped(network):
    plain = Wrapped(network)
    return replace(network, module=Stepped(plain), mean=(0.0,), std=(1.0,), name="stepped")


def robust(network, drawn, attack, **settings):
    return evaluate(network, drawn, attack, **settings).table.sort("image")["robust_last"]


@pytest.mark.parametrize("attack", [APGDCE, APGDDLR, APGDT, FABT, FMN, AutoAttack], ids=lambda attack: attack.kind)
def test_an_attack_misclassifies_at_least_what_pgd_does(known, attack):
    network, drawn = known
    by_pgd = robust(network, drawn, PGD(epsilon=EPSILONS["linf"], steps=20))
    by_it = robust(network, drawn, attack(epsilon=EPSILONS["linf"], **SHORT[attack]))
    only_pgd, only_it = (~by_pgd & by_it).sum(), (by_pgd & ~by_it).sum()
    assert 0 < by_pgd.sum() < len(drawn)  # else nothing is compared
    assert only_pgd <= 1 + only_it  # one image may stand on the boundary


@every_norm
def test_autoattack_agrees_with_its_authors(known, norm):
    network, drawn = known
    ours = robust(network, drawn, AutoAttack(epsilon=EPSILONS[norm], norm=norm, targets=1, queries=50))
    with torch.random.fork_rng():
        theirs = pyautoattack.AutoAttack(
            Wrapped(network).eval(), eps=EPSILONS[norm], norm={"linf": "Linf", "l2": "L2"}[norm], seed=0
        )
        theirs.apgd_targeted.n_target_classes = theirs.fab.n_target_classes = 1
        theirs.square.n_queries = 50
        adversarial, _ = theirs.run_standard_evaluation(network.pixels(drawn), drawn.labels)
    with torch.no_grad():
        stand = network(adversarial).argmax(1) == drawn.labels
    assert 0 < ours.sum() < len(drawn)
    assert abs(int(ours.sum()) - int(stand.sum())) <= 1  # other random numbers may tip an image on the boundary


@every_norm
def test_apgd_takes_the_iterates_of_its_authors_code_from_the_same_start(known, norm):
    _, drawn = known
    network = fitted(drawn, steps=25)  # a surer one has gradients whose squares underflow in theirs
    module, pixels, labels = Wrapped(network).eval(), network.pixels(drawn), drawn.labels
    shown = []
    hook = module.register_forward_hook(lambda module, given, output: shown.append(given[0].detach().clone()))
    settings = {"eps": EPSILONS[norm], "norm": {"linf": "Linf", "l2": "L2"}[norm], "device": "cpu", "n_iter": 20}
    theirs = APGDAttack(module, **settings, loss="ce", logger=logging.getLogger("apgd"))
    theirs.init_hyperparam(pixels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs.attack_single_run(pixels, labels)
    hook.remove()
    attack = APGDCE(epsilon=EPSILONS[norm], norm=norm, steps=20)
    rows = Rows(torch.arange(48), torch.zeros(48), pixels, labels, pixels.new_empty(48, 0), torch.Generator())
    state = attack.start(rows) | dict.fromkeys(("images", "before", "best"), shown[0])
    for expected in shown:
        # in L2 lengths are rounded otherwise, and steps of 2 epsilon carry that on
        torch.testing.assert_close(state["images"], expected, rtol=0, atol=1e-5 if norm == "linf" else 5e-3)
        leaf = state["images"].clone().requires_grad_(True)
        logits = module(leaf)
        loss = attack.loss_of(logits, rows, state)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        seen = Seen(logits.detach(), loss.detach(), gradient, logits.argmax(1) != labels)
        state = attack.step(rows, state, seen)


@every_norm
@every_attack
def test_the_same_seed_gives_the_same_outcomes_and_leaves_no_trace(known, attack, norm):
    network, drawn = known
    network.module.train()
    attack = attack(epsilon=EPSILONS[norm], norm=norm, **SHORT[attack])
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = evaluate(network, drawn, attack, seed=3, keep_images=True)
    torch.rand(7)
    torch.set_rng_state(before[0])
    second = evaluate(network, drawn, attack, seed=3, keep_images=True)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert network.module.training
    network.module.eval()
    assert first.table.equals(second.table)
    assert torch.equal(first.adversarial[0], second.adversarial[0])
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@every_attack
def test_the_outcome_any_is_the_only_outcome(known, attack):
    network, drawn = known
    attack = attack(epsilon=EPSILONS["linf"], **SHORT[attack])
    assert robust(network, drawn, attack).equals(robust(network, drawn, attack, iterate="any"))


def test_square_misclassifies_what_hides_its_gradients_from_pgd(known):
    network, drawn = known
    masked = stepped(network)
    by_pgd = robust(masked, drawn, PGD(epsilon=0.2, steps=20, random_start=False))
    by_square = robust(masked, drawn, Square(epsilon=0.2, queries=400, rescale_schedule=True))
    assert by_pgd.all()
    assert by_square.sum() <= 0.1 * len(drawn)


def test_autoattack_goes_on_where_gradients_vanish(known):
    network, drawn = known
    attack = AutoAttack(epsilon=0.25, steps=3, targets=3, queries=400)
    assert robust(stepped(network), drawn, attack).sum() < len(drawn)


class Cramped(Memory):
    """Memory in which passes of five images fit."""

    def batch(self, network, pixels, wanted, **_):
        return min(wanted, 5)


@every_attack
def test_what_an_attack_draws_does_not_depend_on_how_many_images_fit_into_memory(known, attack):
    network, drawn = known
    attack = attack(epsilon=0.15, **SHORT[attack])
    shown = []
    hook = network.module.register_forward_hook(lambda module, given, output: shown.append(len(output)))
    cramped = evaluate(network, drawn, attack, seed=1, memory=Cramped(), fast=False)
    hook.remove()
    assert max(shown) <= 5
    assert cramped.failures == Failures()
    assert cramped.table.equals(evaluate(network, drawn, attack, seed=1, fast=False).table)


def test_a_pass_that_does_not_fit_into_memory_is_done_again_in_halves(known):
    network, drawn = known
    expected = robust(network, drawn, APGDCE(epsilon=0.15, steps=5))

    def refuse(module, given):
        if len(given[0]) > 10:
            raise MemoryError

    hook = network.module.register_forward_pre_hook(refuse)
    with pytest.warns(UserWarning, match="did not fit into memory"):
        found = evaluate(network, drawn, APGDCE(epsilon=0.15, steps=5))
    hook.remove()
    assert found.failures.batch_size <= 10
    assert found.table.sort("image")["robust_last"].equals(expected)  # the same batches, in parts


def test_robust_images_are_shown_where_the_attack_left_them_and_not_clean(known):
    network, drawn = known
    outcomes = evaluate(network, drawn, APGDCE(epsilon=0.01, steps=5), keep_images=True)
    moved = (outcomes.adversarial[0] - network.pixels(drawn)).abs().flatten(1).amax(1)
    assert outcomes.robust_accuracy > 0.5
    assert moved.min() > 0.005  # a corner of the ball is at 0.01


def test_targets_are_as_many_as_there_are_other_classes():
    drawn = images(8, n_classes=4)
    few = evaluate(fitted(drawn), drawn, FABT(epsilon=EPSILONS["linf"], steps=5, targets=3), seed=1)
    many = evaluate(fitted(drawn), drawn, FABT(epsilon=EPSILONS["linf"], steps=5, targets=900), seed=1)
    assert few.table["robust_last"].equals(many.table["robust_last"])


@pytest.mark.parametrize("attack", [APGDT, AutoAttack], ids=lambda attack: attack.kind)
def test_the_targeted_ratio_of_three_logits_is_refused(attack):
    with pytest.raises(AttackError, match="has 3 classes; expected at least 4"):
        evaluate(convolutional(3), images(6, n_classes=3), attack(epsilon=0.1))


def test_a_forecast_knows_the_cost():
    attack = AutoAttack(epsilon=0.1)
    assert attack.parameters == "norm=linf steps=100 targets=9 queries=5000"
    assert attack.passes[1] == 101 + 9 * 101 + 9 * 200
    assert 5000 < attack.passes[0] < 5100


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: APGDCE(epsilon=8), "did you mean 8/255 = 0.0313725?"),
        (lambda: APGDCE(epsilon=-1.0, norm="l2"), "expected a finite L2 norm of at least 0"),
        (lambda: APGDT(epsilon=0.1, targets=0), "targets = 0; expected at least 1"),
        (lambda: Square(epsilon=0.1, queries=0), "queries = 0; expected at least 1"),
        (lambda: AutoAttack(epsilon=0.1, steps=0), "steps = 0; expected at least 1"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(made, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        made()


class Linear(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, pixels):
        score = (pixels - 0.5).flatten(1) @ self.weight
        return torch.stack([score, -score, score - 50, -score - 50], 1)  # four classes, of which two matter


@every_norm
@every_attack
def test_the_exact_distance_of_a_linear_network_is_where_an_attack_begins_to_succeed(attack, norm):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(75, generator=generator)
    pixels = 0.5 + 0.05 * torch.rand(6, 3, 5, 5, generator=generator)
    module = Linear(weight)
    labels = module(pixels).argmax(1)
    size = weight.abs().sum() if norm == "linf" else weight.norm()
    exact = (((pixels - 0.5).flatten(1) @ weight).abs() / size).tolist()
    settings = {**SHORT[attack], "queries": 2000} if attack is Square else SHORT[attack]
    share = {Square: 1.6 if norm == "linf" else 3.0, FMN: 1.06}.get(attack, 1.02)  # a random search comes near
    for image, label, distance in zip(pixels.split(1), labels.split(1), exact, strict=True):
        for epsilon, found in ((0.98 * distance, False), (share * distance, True)):
            attacked = attack(epsilon=epsilon, norm=norm, **settings)(module, image, label)
            assert bool(module(attacked).argmax(1) != label) is found


def test_the_network_itself_is_not_searched_without_gradients_a_second_time(known):
    network, drawn = known
    own = Wrapped(network)
    asked = replace(network, module=own, mean=(0.0,), std=(1.0,))
    attack = AutoAttack(epsilon=0.01, steps=2, targets=3, queries=300)
    calls = []
    own.register_forward_hook(lambda *_: calls.append(1))
    found = evaluate(asked, drawn, attack, iterate="any", fast=FastNetwork(network, ("a copy",)))
    assert found.robust_accuracy_any > 0.5
    assert found.fast.n_checked == 1
    assert len(calls) < attack.queries
