"""The training loop: it learns, it repeats itself, and adversarial training buys robustness."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.errors import AttackError, DataError, ModelError, StudyError
from manifoldscope.training import OBJECTIVES, Objective, Saving, fit, state, watch
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build

LOOP = sys.modules[fit.__module__]


@pytest.fixture(scope="module")
def digits():
    drawn = images("digits", images_per_class=60)
    return drawn.subset(range(0, 600, 2)), drawn.subset(range(1, 600, 2))


def network(seed=0):
    module = build("cnn", channels=1, size=8, n_classes=10, seed=seed)
    return Network(module, preprocessing=Preprocessing(channels=1))


def objective(name, **settings):
    return OBJECTIVES[name].target(**settings)


@pytest.fixture(scope="module")
def standard(digits):
    made = network()
    history = fit(made, digits[0], objective("standard"), epochs=20, batch_size=50)
    return made, history


def test_standard_training_learns_the_digits(standard, digits):
    made, history = standard
    assert [epoch.epoch for epoch in history] == list(range(1, 21))
    assert history[-1].loss < history[0].loss / 4
    outcomes = evaluate(made, digits[1], PGD(epsilon=0))
    assert outcomes.clean_accuracy > 0.9


def test_adversarial_training_buys_robustness(standard, digits):
    made = network()
    fit(made, digits[0], objective("adversarial", epsilon=0.15, steps=5), epochs=25, batch_size=50)
    attack = PGD(epsilon=0.15, steps=20)
    assert (
        evaluate(made, digits[1], attack).robust_accuracy
        > evaluate(standard[0], digits[1], attack).robust_accuracy + 0.2
    )


def test_training_repeats_itself_and_leaves_the_global_generator_alone(digits):
    first, second, other = network(), network(), network()
    settings = {"epochs": 1, "batch_size": 50}
    before = torch.random.get_rng_state()
    fit(first, digits[0], objective("adversarial", epsilon=0.1, steps=1), seed=3, **settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)  # what others draw must not matter
    fit(second, digits[0], objective("adversarial", epsilon=0.1, steps=1), seed=3, **settings)
    fit(other, digits[0], objective("adversarial", epsilon=0.1, steps=1), seed=4, **settings)
    same = [torch.equal(a, b) for a, b in zip(state(first).values(), state(second).values(), strict=True)]
    assert all(same)
    assert not torch.equal(state(first)["conv1.weight"], state(other)["conv1.weight"])


@contextmanager
def defaults(dtype, device):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


AROUND = {
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "another default type": lambda: defaults(torch.float64, "cpu"),
    "another default device": lambda: defaults(torch.float32, "meta"),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ["n_fgsm", "manifold_mixup"])
def test_what_the_caller_has_set_for_torch_does_not_matter(name, around, digits, tmp_path):
    settings = {"epochs": 1, "batch_size": 50, "augment": "shift_flip"}
    made, same, some = network(), network(), digits[0].subset(range(100))
    one = objective(name, **({"epsilon": 0.1} if name == "n_fgsm" else {}))
    fit(made, some, one, **settings)
    with AROUND[around]():
        fit(same, some, one, **settings, saving=Saving(folder=tmp_path, seconds=0))
    assert all(torch.equal(state(made)[key], value) for key, value in state(same).items())


def test_the_random_objective_trains_nothing(digits):
    made = network()
    before = state(made)
    assert fit(made, digits[0], objective("random"), epochs=3) == []
    assert all(torch.equal(before[name], value) for name, value in state(made).items())


def test_a_loss_that_diverges_is_an_error(digits):
    made = network()
    with torch.no_grad():
        made.module.dense.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="diverged in epoch 1"):
        fit(made, digits[0], objective("standard"), epochs=1)


def test_half_precision_that_diverges_is_said_to_be_why(digits):
    made = network()
    made.module.half()
    with pytest.raises(ModelError, match=r"diverged in epoch 1 .*; train it in float32"):
        fit(made, digits[0], objective("standard"), epochs=1)


def test_weights_that_the_last_step_made_nan_are_an_error(digits):
    @dataclass(frozen=True, kw_only=True)
    class Rooted(Objective):
        def loss(self, network, pixels, labels, progress, generator):
            return network(pixels).square().sum() + (0 * network.module.logits.bias).sqrt().sum()

    with pytest.raises(ModelError, match=r"diverged in epoch 1 \(weights that are NaN or infinite\)"):
        fit(network(), digits[0], Rooted(), epochs=1, batch_size=300)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epsilon": 8}, AttackError, "did you mean 8/255"),
        ({"epsilon": 0.1, "steps": 0}, StudyError, "steps = 0"),
        ({"epsilon": 0.1, "steps": 1.5}, StudyError, r"steps = 1\.5; expected a whole number"),
        ({"epsilon": 0.1, "ramp": 2}, StudyError, "ramp = 2"),
    ],
)
def test_impossible_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        objective("adversarial", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs = 0; expected a whole number of at least 1"),
        ({"epochs": -1}, "epochs = -1"),
        ({"epochs": 1.5}, r"epochs = 1\.5"),
        ({"epochs": float("nan")}, "epochs = nan; expected a whole number"),
        ({"epochs": float("inf")}, "epochs = inf; expected a whole number"),
        ({"epochs": True}, "epochs = True; expected a whole number"),
        ({"epochs": 1, "batch_size": 0}, "batch_size = 0"),
        ({"epochs": 1, "batch_size": 50.0}, r"batch_size = 50\.0; expected a whole number"),
        ({"epochs": 1, "seed": 1.5}, r"seed = 1\.5; expected a whole number"),
        ({"epochs": 1, "learning_rate": float("nan")}, "learning_rate = nan; expected a number of at least 0"),
        ({"epochs": 1, "weight_decay": -1.0}, r"weight_decay = -1\.0"),
        ({"epochs": None}, "epochs = None; expected a whole number"),
        ({"epochs": 1, "seed": None}, "seed = None; expected a whole number"),
        ({"epochs": 1, "learning_rate": "0.1"}, "learning_rate = '0.1'; expected a number"),
        (
            {"epochs": 1, "learning_rate": 1e300},
            r"learning_rate = 1e\+300; expected a number of at least 0 that float32",
        ),
        ({"epochs": 1, "weight_decay": True}, "weight_decay = True; expected a number"),
        ({"epochs": 1, "optimiser": None}, "optimiser = None; expected 'adam' or 'sgd'"),
        ({"epochs": 1, "augment": ["none"]}, r"augment = \['none'\]; expected 'none' or 'shift_flip'"),
        ({"epochs": 1, "saving": "folder"}, r"saving = 'folder'; expected Saving\(folder=\.\.\.\)"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_the_first_step(settings, message, digits):
    made = network()
    before = state(made)
    with pytest.raises(StudyError, match=message):
        fit(made, digits[0], objective("standard"), **settings)
    assert all(torch.equal(before[name], value) for name, value in state(made).items())


def test_numbers_of_numpy_and_a_folder_as_text_are_as_good(digits, tmp_path):
    made, same = network(), network()
    whole = {"epochs": np.int64(1), "batch_size": np.int64(50), "seed": np.int64(3)}
    settings = {**whole, "learning_rate": np.float32(0.5)}
    fit(made, digits[0], objective("standard"), **settings, saving=Saving(folder=str(tmp_path), every=np.int64(1)))
    fit(same, digits[0], objective("standard"), epochs=1, batch_size=50, seed=3, learning_rate=0.5)
    assert all(torch.equal(state(made)[name], value) for name, value in state(same).items())
    assert (tmp_path / "epoch-1.safetensors").is_file()
    for settings in (
        {"every": 1.5},
        {"every": float("nan")},
        {"every": -1},
        {"every": None},
        {"seconds": float("nan")},
        {"seconds": "30"},
        {"folder": None},
    ):
        with pytest.raises(StudyError, match="expected"):
            Saving(**{"folder": tmp_path, **settings})


def test_a_network_that_cannot_learn_these_labels_is_refused(digits):
    module = build("cnn", channels=1, size=8, n_classes=5, seed=0)
    few = Network(module, name="mine", preprocessing=Preprocessing(channels=1))
    with pytest.raises(ModelError, match="mine has 5 outputs, but label 9 occurs"):
        fit(few, digits[0], objective("standard"), epochs=1)
    frozen = network()
    frozen.module.requires_grad_(False)
    with pytest.raises(ModelError, match="has no parameter that can be trained"):
        fit(frozen, digits[0], objective("standard"), epochs=1)


def test_what_does_not_go_together_is_told_before_the_first_step(digits):
    images, standard = digits[0], objective("standard")
    with pytest.raises(ModelError, match=r"mine cannot take images of shape \(1, 8, 8\)"):
        fit(Network(nn.Sequential(nn.Flatten(), nn.Linear(60, 10)), name="mine"), images, standard, epochs=1)
    with pytest.raises(ModelError, match="train it in batches of two images or more"):
        fit(
            nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)), images, standard, epochs=1, batch_size=1
        )
    with torch.inference_mode():
        fixed = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ModelError, match=r"made under torch\.inference_mode, which cannot be trained"):
        fit(fixed, images, standard, epochs=1)
    with pytest.raises(DataError, match="0 images to train on"):
        fit(network(), images.subset([]), standard, epochs=1)
    for wrong in ("standard", type(standard), None):
        with pytest.raises(StudyError, match=r"expected an Objective, such as Standard\(\)"):
            fit(network(), images, wrong, epochs=1)
    with pytest.raises(ModelError, match=r"pass a torch\.nn\.Module"):
        fit("small:cnn", images, standard, epochs=1)
    with pytest.raises(DataError, match="pass an ImageSet"):
        fit(network(), torch.rand(10, 1, 8, 8), standard, epochs=1)


def test_a_module_is_trained_as_a_network_without_normalisation(digits):
    made = build("cnn", channels=1, size=8, n_classes=10, seed=0)
    fit(made, digits[0], objective("standard"), epochs=1)
    expected = network()
    fit(expected, digits[0], objective("standard"), epochs=1)
    assert all(torch.equal(made.state_dict()[name], value) for name, value in state(expected).items())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda logits: logits.mean(0), r"is \(10,\) of torch.float32; expected a scalar"),
        (lambda logits: None, "is NoneType; expected a scalar"),
        (lambda logits: logits.mean() * 1j, r"is \(\) of torch\.complex64; expected a scalar"),
        (lambda logits: logits.detach().mean(), "has no gradient by the weights of network; take out what detaches it"),
    ],
)
def test_what_an_objective_of_ones_own_gives_amiss_is_told(made, message, digits):
    class Mine(Objective):
        def loss(self, network, pixels, labels, progress, generator):
            return made(network(pixels))

    with pytest.raises(StudyError, match=f"the loss of Mine {message}"):
        fit(network(), digits[0], Mine(), epochs=1)


def test_what_no_file_of_weights_can_hold_is_named(digits, tmp_path):
    class Counting(nn.Sequential):
        def get_extra_state(self):
            return {"seen": 0}

        def set_extra_state(self, state):
            pass

    made = Network(Counting(nn.Flatten(), nn.Linear(64, 10)), preprocessing=Preprocessing(channels=1))
    with pytest.raises(ModelError, match="Counting keeps dict in its state dict as '_extra_state'"):
        fit(made, digits[0], objective("standard"), epochs=1, saving=Saving(folder=tmp_path))
    with pytest.raises(ModelError, match="_extra_state"):
        state(made)
    sparse = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    sparse.register_buffer("mask", torch.eye(3).to_sparse())
    with pytest.raises(ModelError, match="Sequential keeps sparse_coo in its state dict as 'mask'"):
        fit(sparse, digits[0], objective("standard"), epochs=1, saving=Saving(folder=tmp_path))


def test_adversarial_training_notes_how_it_stands_one_step_and_many(digits, monkeypatch):
    settings = {"epochs": 3, "batch_size": 50, "seed": 2}
    judged, plain, quiet = network(), network(), network()
    within = objective("adversarial", epsilon=0.1, steps=1)
    monkeypatch.setattr(watch, "EVALUATION_SHARE", 100.0)
    history = fit(judged, digits[0], within, **settings)
    assert [(epoch.epsilon, epoch.n_images) for epoch in history] == [(0.1, 200)] * 3
    assert all(0 <= n <= 200 for epoch in history for n in (epoch.n_robust_pgd, epoch.n_robust_fgsm))
    assert history[-1].n_robust_fgsm > history[0].n_robust_fgsm
    monkeypatch.setattr(watch, "EVALUATION_SHARE", 1e-6)
    sparse = fit(plain, digits[0], within, **settings)
    assert [epoch.n_images for epoch in sparse] == [0, 0, 200]
    monkeypatch.setattr(LOOP, "evaluation", lambda *args, **settings: None)
    unjudged = fit(quiet, digits[0], within, **settings)
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in unjudged]
    weights = zip(state(judged).values(), state(plain).values(), state(quiet).values(), strict=True)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in weights)


def test_training_on_clean_images_is_not_attacked(standard):
    assert {(epoch.epsilon, epoch.n_images, epoch.n_robust_pgd) for epoch in standard[1]} == {(None, 0, None)}


def test_the_gradients_are_watched_where_the_network_is_attacked(standard, digits, monkeypatch):
    assert {epoch.gradient_participation_ratio for epoch in standard[1]} == {None}
    monkeypatch.setattr(watch, "EVALUATION_SHARE", 100.0)
    history = fit(network(), digits[0], objective("adversarial", epsilon=0.1, steps=1), epochs=2, batch_size=50)
    assert all(1 / 64 < epoch.gradient_participation_ratio < 1 for epoch in history)


@pytest.mark.parametrize(
    "changes",
    [{"optimiser": "sgd", "learning_rate": 0.1}, {"weight_decay": 1e-4}, {"augment": "shift_flip"}],
    ids=str,
)
def test_every_way_to_train_learns_and_is_another(changes, standard, digits):
    made = network()
    history = fit(made, digits[0], objective("standard"), **{"epochs": 20, "batch_size": 50, **changes})
    assert history[-1].loss < history[0].loss
    assert not torch.equal(state(made)["conv1.weight"], state(standard[0])["conv1.weight"])


@pytest.mark.parametrize("changes", [{"optimiser": "adamw"}, {"augment": "shift"}], ids=str)
def test_an_unknown_optimiser_or_augmentation_is_refused(changes, digits):
    with pytest.raises(StudyError, match="did you mean"):
        fit(network(), digits[0], objective("standard"), epochs=1, **changes)
