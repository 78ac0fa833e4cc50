"""Attacks of other libraries, and functions of one's own: judged like ours, and not believed."""

from __future__ import annotations

import foolbox
import pytest
import torch
import torchattacks

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


def by_art(module, pixels, labels):
    """As the Adversarial Robustness Toolbox asks for it: arrays in, arrays out."""
    attacked = PGD(epsilon=EPSILON, steps=10)(module, torch.from_numpy(pixels.numpy().copy()), labels)
    return torch.from_numpy(attacked.numpy())


def by_hand(module, pixels, labels):
    moved = pixels.clone()
    for _ in range(10):
        leaf = moved.detach().requires_grad_(True)
        torch.nn.functional.cross_entropy(module(leaf), labels, reduction="sum").backward()
        moved = moved + EPSILON / 4 * leaf.grad.sign()
        moved = torch.clamp(moved, pixels - EPSILON, pixels + EPSILON).clamp(0, 1)
    return moved


@pytest.mark.parametrize("propose", [by_torchattacks, by_foolbox, by_art, by_hand], ids=lambda each: each.__name__)
def test_an_attack_of_another_library_is_judged_like_ours(known, propose):
    network, drawn = known
    attack = external(propose, norm="linf", epsilon=EPSILON)
    theirs = evaluate(network, drawn, attack, keep_images=True)
    ours = evaluate(network, drawn, PGD(epsilon=EPSILON, steps=10))
    assert 0 < theirs.robust_accuracy < 1
    assert abs(theirs.robust_accuracy - ours.robust_accuracy) <= 3 / 48
    assert theirs.table["parameters"].unique().to_list() == [f"name={propose.__name__} norm=linf restarts=1"]
    moved = (theirs.adversarial[0] - network.pixels(drawn)).abs().max()
    assert moved <= EPSILON + 1e-6
    again = evaluate(network, drawn, attack)
    assert again.table.equals(theirs.table)  # their random numbers are seeded


def test_it_runs_on_a_module_like_any_attack(known):
    network, drawn = known
    attack = external(by_hand, norm="linf", epsilon=EPSILON)
    pixels = network.pixels(drawn)
    attacked = attack(network, pixels, drawn.labels)
    assert 0 < (attacked - pixels).abs().max() <= EPSILON + 1e-6
    (only,) = attack.run(network, pixels, drawn.labels)
    assert torch.equal(only.images, attacked)


def test_one_that_leaves_the_ball_is_brought_back(known):
    network, drawn = known
    far = external(lambda module, pixels, labels: 5 - 10 * pixels, norm="linf", epsilon=1e-4, name="far")
    found = evaluate(network, drawn, far, keep_images=True)
    assert found.robust_accuracy == 1
    assert (found.adversarial[0] - network.pixels(drawn)).abs().max() <= 1e-4 + 1e-6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_that_gives_no_numbers_has_no_success(known, value):
    network, drawn = known
    broken = external(
        lambda module, pixels, labels: torch.full_like(pixels, value), norm="linf", epsilon=1e-4, name="broken"
    )
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
        (lambda m, x, y: None, "gave <class 'NoneType'>; expected images"),
    ],
)
def test_what_are_no_images_is_one_sentence(known, given, message):
    network, drawn = known
    with pytest.raises(AttackError, match=message):
        evaluate(network, drawn, external(given, norm="linf", epsilon=0.1, name="odd"))
