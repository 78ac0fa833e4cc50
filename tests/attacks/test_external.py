"""Attacks of other libraries, and functions of one's own: judged like ours, and not believed."""

from __future__ import annotations

import math
import random
import sys
from types import ModuleType

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from art.attacks.evasion import ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier

from manifoldscope.attacks import PGD, evaluate, external
from manifoldscope.errors import AttackError
from tests.attacks.networks import fitted, images

EPSILON = 0.12


@pytest.fixture(scope="module")
def known():
    drawn = images(48)
    return fitted(drawn), drawn


def by_torchattacks(module, pixels, labels):
    return torchattacks.PGD(module, eps=EPSILON, alpha=EPSILON / 4, steps=10)(pixels, labels)


def by_foolbox(module, pixels, labels):
    model = foolbox.PyTorchModel(module, bounds=(0, 1), device=pixels.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=EPSILON / 4, steps=10)
    return attack(model, pixels, labels, epsilons=EPSILON)[1]


def by_art(module, pixels, labels, random_starts=1):
    """As the Adversarial Robustness Toolbox asks for it: arrays in, arrays out."""
    n_classes = module(pixels[:1]).shape[1]
    model = PyTorchClassifier(
        module, torch.nn.CrossEntropyLoss(), tuple(pixels.shape[1:]), n_classes, clip_values=(0, 1), device_type="cpu"
    )
    attack = ProjectedGradientDescent(
        model, eps=EPSILON, eps_step=EPSILON / 4, max_iter=10, num_random_init=random_starts, verbose=False
    )
    return torch.from_numpy(attack.generate(pixels.numpy(), labels.numpy()))


def adv_lib():
    """Its attacks; the plotting client that it imports is for pictures alone, which nothing here asks for."""
    sys.modules.setdefault("visdom", ModuleType("visdom"))
    from adv_lib import attacks

    return attacks


def by_adv_lib(module, pixels, labels, random_start=True):
    settings = {"steps": 10, "absolute_step_size": EPSILON / 4, "random_init": random_start}
    return adv_lib().pgd_linf(module, pixels, labels, EPSILON, **settings)


def by_apgd_of_adv_lib(module, pixels, labels):
    return adv_lib().apgd(module, pixels, labels, EPSILON, math.inf, n_iter=10, loss_function="ce")


def by_hand(module, pixels, labels):
    moved = pixels.clone()
    for _ in range(10):
        leaf = moved.detach().requires_grad_(True)
        torch.nn.functional.cross_entropy(module(leaf), labels, reduction="sum").backward()
        moved = moved + EPSILON / 4 * leaf.grad.sign()
        moved = torch.clamp(moved, pixels - EPSILON, pixels + EPSILON).clamp(0, 1)
    return moved


@pytest.mark.parametrize(
    "propose",
    [by_torchattacks, by_foolbox, by_art, by_adv_lib, by_apgd_of_adv_lib, by_hand],
    ids=lambda each: each.__name__,
)
def test_an_attack_of_another_library_is_judged_like_ours(known, propose):
    network, drawn = known
    attack = external(propose, norm="linf", epsilon=EPSILON)
    theirs = evaluate(network, drawn, attack, keep_images=True)
    ours = evaluate(network, drawn, PGD(epsilon=EPSILON, steps=10))
    assert 0 < theirs.robust_accuracy < theirs.clean_accuracy
    assert abs(theirs.robust_accuracy - ours.robust_accuracy) <= 3 / 48
    assert theirs.table["parameters"].unique().to_list() == [f"name={propose.__name__} norm=linf restarts=1"]
    moved = (theirs.adversarial[0] - network.pixels(drawn)).abs().max()
    assert moved <= EPSILON + 1e-6
    again = evaluate(network, drawn, attack, keep_images=True)
    assert again.table.equals(theirs.table)  # their random numbers are seeded
    assert torch.equal(again.adversarial[0], theirs.adversarial[0])


def test_from_the_clean_images_art_finds_what_we_find(known):
    network, drawn = known
    attack = external(lambda *given: by_art(*given, random_starts=0), norm="linf", epsilon=EPSILON, name="art")
    theirs = evaluate(network, drawn, attack, keep_images=True)
    pgd = PGD(epsilon=EPSILON, steps=10, random_start=False)
    ours = evaluate(network, drawn, pgd, fast=False, keep_images=True)
    assert theirs.table["robust_last"].equals(ours.table["robust_last"])
    assert theirs.table["last_prediction"].equals(ours.table["last_prediction"])
    torch.testing.assert_close(theirs.adversarial[0], ours.adversarial[0], rtol=0, atol=1e-6)


def test_from_the_clean_images_adv_lib_finds_what_we_find(known):
    """It returns a misclassified iterate where there was one, and takes a last step that it does not look at."""
    network, drawn = known
    attack = external(lambda *given: by_adv_lib(*given, random_start=False), norm="linf", epsilon=EPSILON, name="adv")
    theirs = evaluate(network, drawn, attack)
    ours = evaluate(network, drawn, PGD(epsilon=EPSILON, steps=9, step_size=EPSILON / 4, random_start=False))
    assert theirs.table["robust_last"].equals(ours.table["robust_any"])


def test_whatever_it_draws_from_is_seeded_and_put_back(known):
    network, drawn = known

    def noise(module, pixels, labels):
        drawn = torch.from_numpy(np.random.uniform(-1, 1, pixels.shape)).float() + random.random()
        return pixels + EPSILON / 3 * (drawn + torch.rand_like(pixels))

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    attack = external(noise, norm="linf", epsilon=EPSILON)
    before = states()
    first = evaluate(network, drawn, attack, keep_images=True)
    assert states() == before
    torch.rand(1), np.random.uniform(), random.random()
    again = evaluate(network, drawn, attack, keep_images=True)
    assert torch.equal(first.adversarial[0], again.adversarial[0])
    other = evaluate(network, drawn, attack, seed=1, keep_images=True)
    assert not torch.equal(first.adversarial[0], other.adversarial[0])


def test_what_it_sets_for_the_whole_process_is_put_back(known):
    network, drawn = known

    def set_up(module, pixels, labels):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True)
        torch.autograd.set_detect_anomaly(True)
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
        return pixels

    def states():
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_anomaly_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        )

    before = states()
    evaluate(network, drawn, external(set_up, norm="linf", epsilon=0.1))
    assert states() == before


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        (lambda m, x, y: (x + 8 * (0.5 - x).sign()).clamp(-8, 8), "8"),  # of 255, as is meant
        (lambda m, x, y: x.roll(1, 0), "0."),  # the images of other ones
    ],
)
def test_images_that_all_lie_far_outside_of_the_ball_are_told(known, given, nearest):
    network, drawn = known
    with pytest.warns(
        UserWarning, match=rf"odd gave no image within {nearest}.* and epsilon is 0.0314: all are brought"
    ):
        evaluate(network, drawn, external(given, norm="linf", epsilon=8 / 255, name="odd"))


def test_it_runs_on_a_module_like_any_attack(known):
    network, drawn = known
    attack = external(by_hand, norm="linf", epsilon=EPSILON)
    pixels = network.pixels(drawn)
    attacked = attack(network, pixels, drawn.labels)
    assert 0 < (attacked - pixels).abs().max() <= EPSILON + 1e-6
    (only,) = attack.run(network, pixels, drawn.labels)
    assert torch.equal(only.images, attacked)


@pytest.mark.filterwarnings("ignore:the attack .* gave no image within")
def test_one_that_leaves_the_ball_is_brought_back(known):
    network, drawn = known
    far = external(lambda module, pixels, labels: 5 - 10 * pixels, norm="linf", epsilon=1e-4, name="far")
    found = evaluate(network, drawn, far, keep_images=True)
    assert found.robust_accuracy == 1
    assert (found.adversarial[0] - network.pixels(drawn)).abs().max() <= 1e-4 + 1e-6


@pytest.mark.filterwarnings("ignore:the attack .* gave no image within")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("where", [slice(None), slice(3, 5)])
def test_one_that_gives_no_numbers_has_no_success(known, norm, value, where):
    network, drawn = known

    def lost(module, pixels, labels):
        pixels[:, :, where] = value
        return pixels

    broken = external(lost, norm=norm, epsilon=1e-4)
    assert evaluate(network, drawn, broken).robust_accuracy == 1


def test_one_that_returns_the_clean_images_has_no_success(known):
    network, drawn = known
    assert (
        evaluate(network, drawn, external(lambda m, x, y: x, norm="l2", epsilon=1.0, name="lazy")).robust_accuracy == 1
    )


def test_one_that_changes_the_module_changes_a_copy(known):
    network, drawn = known
    before = {name: value.clone() for name, value in network.module.state_dict().items()}

    def vandal(module, pixels, labels):
        module.train()
        for parameter in module.parameters():
            parameter.data.zero_()
            parameter.requires_grad_(True)
        return pixels

    found = evaluate(network, drawn, external(vandal, norm="linf", epsilon=0.1))
    assert found.robust_accuracy == found.clean_accuracy == 1
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())


def test_each_batch_finds_the_module_as_the_network_is(known):
    network, drawn = known
    modes = []

    def vandal(module, pixels, labels):
        modes.append(module.training)
        found = by_hand(module, pixels, labels)
        module.train()
        for parameter in module.parameters():
            parameter.data.zero_()
        return found

    attacks = [external(each, norm="linf", epsilon=EPSILON, name="same") for each in (vandal, by_hand)]
    changed, plain = (evaluate(network, drawn, attack, batch_size=16) for attack in attacks)
    assert modes == [False] * 3
    assert changed.table.equals(plain.table)
    assert plain.robust_accuracy < 1


@pytest.mark.filterwarnings("ignore:the attack .* gave no image within")
def test_one_that_changes_what_it_is_given_changes_copies(known):
    network, drawn = known

    def scribbler(module, pixels, labels):
        labels.fill_(0)
        return pixels.fill_(0.5)

    found = evaluate(network, drawn, external(scribbler, norm="linf", epsilon=1e-4))
    assert found.robust_accuracy == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda m, x, y: x[:1], "gave shape"),
        (lambda m, x, y: x.long(), "type torch.int64"),
        (lambda m, x, y: None, "gave NoneType; expected the images alone, a dense tensor of shape"),
        (lambda m, x, y: x.to("meta"), "gave a meta tensor"),
        (lambda m, x, y: x.to_sparse(), "gave a sparse_coo tensor; expected the images alone, a dense tensor"),
        (lambda m, x, y: list(x), r"gave list; .* return torch.stack"),
        (lambda m, x, y: (x, x), r"gave tuple; .* return that element which holds them"),
        (lambda m, x, y: x.numpy(), r"gave ndarray; .* return torch.from_numpy"),
    ],
)
def test_what_are_no_images_is_one_sentence(known, given, message):
    network, drawn = known
    with pytest.raises(AttackError, match=message):
        evaluate(network, drawn, external(given, norm="linf", epsilon=0.1, name="odd"))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(AttackError, match="propose = 'pgd'; expected a function of a module, images and labels"):
        external("pgd", norm="linf", epsilon=0.1)
