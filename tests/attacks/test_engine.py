"""The engine on anybody's module: adversarial images, and the iterates of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from manifoldscope.attacks import ATTACKS, FABT, FGSM, PGD, AutoAttack, Perturbation, UniformNoise, evaluate, make
from manifoldscope.errors import AttackError
from tests.attacks.networks import Wrapped, fitted, images


@pytest.fixture(scope="module")
def known():
    drawn = images(24)
    network = fitted(drawn)
    network.module.zero_grad(set_to_none=True)
    return Wrapped(network).eval(), network.pixels(drawn), drawn.labels, network, drawn


def test_a_call_returns_the_adversarial_images_that_evaluate_finds(known):
    module, pixels, labels, network, drawn = known
    attack = PGD(epsilon=0.12, steps=8, random_start=False)
    attacked = attack(module, pixels, labels)
    expected = evaluate(network, drawn, attack, keep_images=True, fast=False)
    torch.testing.assert_close(attacked, expected.adversarial[0], rtol=0, atol=1e-6)
    assert attack(module, pixels, labels, batch_size=5).sub(attacked).abs().max() < 1e-5


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack_can_be_called_on_a_module(known, name):
    module, pixels, labels, *_ = known
    strength = ATTACKS[name].target.strength_setting
    own = {"queries": 60} if "queries" in ATTACKS[name].settings.model_fields else {}
    own |= {"steps": 5} if "steps" in ATTACKS[name].settings.model_fields else {}
    attack = make(name, {strength: 10.0 if strength == "degrees" else 0.1, **own})
    attacked = attack(module, pixels, labels, seed=3)
    assert attacked.shape == pixels.shape
    assert float(attack.excess(pixels, attacked).max()) <= 1e-6
    assert torch.equal(attacked, attack(module, pixels, labels, seed=3))
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_run_gives_each_iterate_with_its_loss(known):
    module, pixels, labels, *_ = known
    attack = PGD(epsilon=0.1, steps=6, random_start=False)
    iterates = list(attack.run(module, pixels, labels))
    assert len(iterates) == 7
    assert torch.equal(iterates[0].images, pixels)
    assert torch.equal(iterates[-1].images, attack(module, pixels, labels))
    assert iterates[-1].loss is None
    losses = torch.stack([each.loss for each in iterates[:-1]])
    expected = torch.nn.functional.cross_entropy(module(iterates[2].images), labels, reduction="none")
    torch.testing.assert_close(losses[2], expected.detach())
    assert (losses[-1] > losses[0]).all()


def test_a_run_takes_its_random_numbers_from_one_generator(known):
    module, pixels, labels, *_ = known
    first, second = (
        next(PGD(epsilon=0.1).run(module, pixels, labels, streams=torch.Generator().manual_seed(seed))).images
        for seed in (1, 1)
    )
    assert torch.equal(first, second)
    assert 0.09 < (first - pixels).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("streams", [3, [1, 2], [torch.Generator()], "seed"])
def test_what_are_no_random_numbers_for_each_image_is_told(known, streams):
    with pytest.raises(AttackError, match=r"expected a torch\.Generator, or one for each image"):
        next(PGD(epsilon=0.1, steps=1).run(known[0], known[1], known[2], streams=streams))


def test_a_run_gives_all_images_to_the_end_where_some_are_finished_before(known):
    module, pixels, labels, *_ = known
    pixels, labels = pixels[:4], labels[:4].clone()
    labels[0] = labels[1]  # which is misclassified when clean, and pulled back less often
    attack = FABT(epsilon=0.1, steps=6)
    iterates = list(attack.run(module, pixels, labels))
    assert {each.images.shape for each in iterates} == {pixels.shape}
    alone = [list(attack.run(module, pixels[[place]], labels[[place]])) for place in range(4)]
    assert len({len(each) for each in alone}) > 1
    last = torch.cat([each[-1].images for each in alone])
    torch.testing.assert_close(iterates[-1].images, last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["pgd", "apgd_t", "fab_t"])
def test_gradients_are_found_where_the_caller_turned_them_off(known, name, mode):
    module, pixels, labels, *_ = known
    attack = make(name, {"epsilon": 0.1, "steps": 3})
    expected = attack(module, pixels, labels)
    with mode():
        attacked = attack(module, pixels.clone(), labels.clone())
        if name == "pgd":
            assert torch.equal(list(attack.run(module, pixels.clone(), labels.clone()))[-1].images, expected)
    assert torch.equal(attacked, expected)


@pytest.mark.parametrize("name", ["pgd", "apgd_t", "square"])
def test_a_module_in_training_mode_is_attacked_in_evaluation_mode_and_stays_as_it_was(known, name):
    _, pixels, labels, *_ = known
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(pixels.shape[1], 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout())
    module.append(nn.Linear(module(pixels).shape[1], 10))
    attack = make(name, {"epsilon": 0.1, "queries" if name == "square" else "steps": 4})
    expected = attack(module.eval(), pixels, labels)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert torch.equal(attack(module.train(), pixels, labels), expected)
    for _iterate in attack.run(module, pixels, labels):
        assert all(part.training for part in module.modules())
        assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.arange(4.0).view(4, 1, 1, 1), torch.zeros(4).long(), "images lie in [0, 3]; expected pixels in [0, 1]"),
        (torch.full((4, 3, 8, 8), 1 + 2**-23), torch.zeros(4).long(), "[1.0000001, 1.0000001]; expected"),
        (torch.full((4, 3, 8, 8), torch.nan), torch.zeros(4).long(), "images lie in [nan, nan]"),
        (torch.rand(4, 3, 8, 8), torch.zeros(3).long(), "expected (n, channels, height, width)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), "type torch.uint8"),
        (torch.rand(4, 3, 8, 8).half(), torch.zeros(4).long(), "type torch.float16, labels"),
        (torch.rand(4, 3, 8, 8), torch.zeros(4), "labels of shape (4,) and type torch.float32"),
        (torch.rand(4, 3, 8, 8), torch.zeros(4).int(), "labels of shape (4,) and type torch.int32"),
        (torch.rand(4, 3, 8, 8), torch.zeros(4).long() - 1, "label -1; expected class indices from 0"),
        (torch.rand(4, 3, 8, 8).numpy(), torch.zeros(4).long(), "images are ndarray and labels Tensor"),
        (torch.rand(4, 3, 8, 8), [0, 0, 0, 0], "images are Tensor and labels list"),
        (torch.rand(4, 3, 0, 8), torch.zeros(4).long(), "images of shape (4, 3, 0, 8)"),
        (torch.rand(4, 3, 8, 8).to_sparse(), torch.zeros(4).long(), "images or labels are a sparse_coo tensor"),
        (torch.rand(4, 3, 8, 8), torch.zeros(4).long().to("meta"), "images or labels are a meta tensor"),
    ],
)
def test_what_are_no_pixels_is_refused(known, pixels, labels, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        UniformNoise(epsilon=0.1)(known[0], pixels, labels)


def test_images_that_want_a_gradient_are_attacked_without_a_warning(known):
    module, pixels, labels, *_ = known
    attack = FGSM(epsilon=0.1)
    assert torch.equal(attack(module, pixels.clone().requires_grad_(), labels), attack(module, pixels, labels))


def test_the_iterates_of_several_attacks_in_turn_are_refused(known):
    with pytest.raises(AttackError, match="autoattack is several attacks"):
        next(AutoAttack(epsilon=0.1).run(*known[:3]))


@dataclass(frozen=True, kw_only=True)
class InPlace(Perturbation):
    """Steps in place, from the clean images themselves or from a copy."""

    kind = "in_place"
    strength_setting = "epsilon"
    counts = "both"

    epsilon: float
    copies: bool

    def start(self, rows):
        return {"images": rows.clean.clone() if self.copies else rows.clean, "steps": torch.zeros_like(rows.labels)}

    def step(self, rows, state, seen):
        moved = state["images"].add_(self.epsilon / 2).clamp_(rows.clean - self.epsilon, rows.clean + self.epsilon)
        return {"images": moved.clamp_(0, 1), "steps": state["steps"] + 1}

    def finished(self, state):
        return state["steps"] == 2

    def excess(self, clean, perturbed):
        return (perturbed - clean).abs().flatten(1).amax(1) - self.epsilon


def test_clean_images_that_an_attack_writes_into_do_not_move_its_ball(known):
    module, pixels, labels, network, drawn = known
    wrong, right = (InPlace(epsilon=0.05, copies=copies) for copies in (False, True))
    for attacked in (
        lambda: wrong(module, pixels, labels),
        lambda: list(wrong.run(module, pixels, labels)),
        lambda: evaluate(network, drawn, wrong, batch_size=7),
    ):
        with pytest.raises(AttackError, match=r"in_place changed the clean images in place.* rows.clean.clone\(\)"):
            attacked()
    before = pixels.clone()
    with torch.inference_mode():
        inside = right(module, pixels.clone(), labels.clone())
    assert torch.equal(pixels, before)
    assert 0.04 < (inside - pixels).abs().max() <= 0.05 + 1e-6


WRONG = {
    "a row": (
        {"start": lambda attack, rows: {"images": rows.clean[:1]}},
        "gave a state of the shapes {'images': (1, 3, 8",
    ),
    "no images": (
        {"start": lambda attack, rows: {"at": rows.clean}},
        "gave a state of the shapes {'at': (6, 3, 8, 8)}",
    ),
    "a number": (
        {"start": lambda attack, rows: {"images": rows.clean, "n": 3}},
        "'n': ()}; expected tensors with a row for each image, of which 'images' is (6, 3, 8, 8)",
    ),
    "a tensor": ({"start": lambda attack, rows: rows.clean}, "gave a state of the shapes {}"),
    "other names": (
        {"step": lambda attack, rows, state, seen: {"images": state["images"]}},
        "began with the state images, steps, and a step gave images; expected the same names",
    ),
    "a mean": (
        {"loss_of": lambda attack, logits, rows, state: logits.mean()},
        "loss_of of in_place gave shape () and type torch.float32; expected one number for each of 6 images, (6,)",
    ),
    "whole numbers": (
        {"loss_of": lambda attack, logits, rows, state: logits.argmax(1)},
        "loss_of of in_place gave shape (6,) and type torch.int64; expected one number for each of 6 images, (6,)",
    ),
    "no gradient": (
        {"loss_of": lambda attack, logits, rows, state: logits.detach().sum(1), "asks_gradients": True},
        "loss_of of in_place gave numbers without a gradient; expected them to be computed from the logits",
    ),
    "half precision": (
        {"start": lambda attack, rows: {"images": rows.clean.half(), "steps": rows.labels.clone()}},
        "in_place gave images of type torch.float16 on cpu; expected pixels in [0, 1], float32 or float64, on cpu",
    ),
    "levels": (
        {"start": lambda attack, rows: {"images": (255 * rows.clean).to(torch.uint8), "steps": rows.labels.clone()}},
        "in_place gave images of type torch.uint8 on cpu",
    ),
    "another device": (
        {"start": lambda attack, rows: {"images": rows.clean.to("meta"), "steps": rows.labels.clone()}},
        "in_place gave images of type torch.float32 on meta; expected pixels in [0, 1]",
    ),
    "the largest excess": (
        {"excess": lambda attack, clean, perturbed: float((perturbed - clean).abs().max()) - attack.epsilon},
        "excess of in_place gave float; expected one number for each of",
    ),
    "excess of each pixel": (
        {"excess": lambda attack, clean, perturbed: (perturbed - clean).abs() - attack.epsilon},
        "excess of in_place gave shape (",
    ),
    "one truth": (
        {"finished": lambda attack, state: True},
        "finished of in_place gave bool; expected one truth for each of 6 images, (6,)",
    ),
    "labels": (
        {"start": lambda attack, rows: {"images": rows.clean, "steps": rows.labels.fill_(0)}},
        "in_place changed the labels in place, by which it is judged; begin with rows.labels.clone()",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_an_attack_of_ones_own_gives_amiss_is_told(known, wrong):
    module, pixels, labels, network, drawn = known
    methods, message = WRONG[wrong]
    attack = type("Wrong", (InPlace,), methods)(epsilon=0.05, copies=True)
    for attacked in (
        lambda: attack(module, pixels[:6], labels[:6]),
        lambda: evaluate(network, drawn.subset(range(6)), attack),
    ):
        with pytest.raises(AttackError, match=re.escape(message)):
            attacked()
