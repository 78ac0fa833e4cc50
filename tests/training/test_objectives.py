"""Objectives: each obeys the interface, says the loss of its paper, and leaves the network as it was."""

from __future__ import annotations

import math
import pkgutil
import sys

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.errors import AttackError, ModelError, StudyError
from manifoldscope.training import OBJECTIVES, fit, objectives, penalties, state
from manifoldscope.training.features import logits_and_features, replaced
from manifoldscope.training.objectives import Objective, Shaping
from manifoldscope.training.objectives.attacked import Attacked
from manifoldscope.training.objectives.mart import boosted_cross_entropy
from manifoldscope.training.objectives.mixing import Mix
from manifoldscope.training.objectives.trades import divergence
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build

ENTRIES = list(OBJECTIVES)
TRAINED = [entry for entry in ENTRIES if entry.name != "random" and "defence" not in entry.traits]
SHAPING = [entry for entry in ENTRIES if issubclass(entry.target, Shaping)]
ATTACKED = [entry for entry in ENTRIES if issubclass(entry.target, Attacked)]
WITHOUT_DEFAULT = {"epsilon": 0.1}
"""Values of the settings that have no default."""


def named(entry):
    return entry.name


def made(entry, **settings):
    needed = {k: v for k, v in WITHOUT_DEFAULT.items() if k in entry.settings.model_fields}
    return entry.target(**(needed | settings))


def objective(name, **settings):
    return made(OBJECTIVES[name], **settings)


def network(name="cnn", seed=0):
    return Network(build(name, channels=1, size=8, n_classes=10, seed=seed), preprocessing=Preprocessing(channels=1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    drawn = images("digits", images_per_class=60)
    return drawn.subset(range(0, 600, 2)), drawn.subset(range(1, 600, 2))


@pytest.fixture(scope="module")
def batch(digits):
    """Pixels and labels of 40 images, of which one class has a single one."""
    drawn = digits[0].subset([*range(39), 299])
    return network().pixels(drawn), drawn.labels


# -- all of them ------------------------------------------------------------------------------------------------------


def test_there_is_an_objective_for_every_penalty():
    assert {entry.name for entry in SHAPING} == set(penalties.__all__) - {"inverse_ball_capacity"}


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_every_objective_obeys_the_interface(entry, batch):
    one = made(entry)
    assert isinstance(one, Objective)
    assert one.passes >= 0
    assert one.radius == (WITHOUT_DEFAULT["epsilon"] if entry in ATTACKED else None)
    assert entry.summary.endswith(".")
    assert entry.settings(**{k: v for k, v in WITHOUT_DEFAULT.items() if k in entry.settings.model_fields})
    assert one.trains == (entry.name != "random")
    if not one.trains:
        with pytest.raises(StudyError, match="not trained"):
            one.loss(network(), *batch, 0.5, generator())


@pytest.mark.parametrize("name", ["cnn", "resnet20"])
@pytest.mark.parametrize("entry", TRAINED, ids=named)
def test_every_loss_is_a_scalar_whose_gradient_reaches_all_weights(entry, name, batch):
    net = network(name)
    net.module.train()
    for progress in (0.0, 0.5):
        loss = made(entry).loss(net, *batch, progress, generator())
        loss.backward()
        assert loss.shape == ()
        assert bool(loss.isfinite())
        gradients = [parameter.grad for parameter in net.module.parameters()]
        assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("entry", TRAINED, ids=named)
def test_what_is_drawn_comes_from_the_generator_alone(entry, batch):
    """Training that was interrupted goes on with the same numbers, whatever else the process has done."""
    losses = []
    for other in range(2):
        net, own = network(), generator(7)
        net.module.train()
        torch.manual_seed(other)
        before = torch.get_rng_state()
        if other:  # what is cached of a network must not matter
            for seed in range(3):
                made(entry).loss(net, *batch, 0.5, generator(seed))
        losses.append([made(entry).loss(net, *batch, 0.5, own).item() for _ in range(2)])
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("entry", TRAINED, ids=named)
def test_modes_hooks_and_flags_are_left_as_they_were(entry, batch):
    net = network("resnet20")
    net.module.train()
    net.module.bn1.eval()  # somebody froze it
    modes = [module.training for module in net.module.modules()]
    made(entry).loss(net, *batch, 0.5, generator())
    assert [module.training for module in net.module.modules()] == modes
    assert all(parameter.requires_grad for parameter in net.module.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.module.modules())


@pytest.fixture(scope="module")
def trained(digits):
    """Every network is trained once: on 300 images, with the defaults of its objective."""
    known = {}

    def train(entry):
        if entry.name not in known:
            net = network()
            less = {"epsilon": 0.15, "steps": 4}
            settings = {k: v for k, v in less.items() if k in entry.settings.model_fields}
            fit(net, digits[0], made(entry, **settings), epochs=20, batch_size=50)
            known[entry.name] = net
        return known[entry.name]

    return train


@pytest.mark.parametrize("entry", TRAINED, ids=named)
def test_every_objective_learns_the_digits(entry, trained, digits):
    assert evaluate(trained(entry), digits[1], PGD(epsilon=0)).clean_accuracy > 0.85


# -- attacked images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ATTACKED, ids=named)
def test_training_on_attacked_images_buys_robustness(entry, trained, digits):
    attack = PGD(epsilon=0.15, steps=10)
    robust, standard = (
        evaluate(trained(each), digits[1], attack).robust_accuracy for each in (entry, OBJECTIVES["standard"])
    )
    assert robust > standard + 0.15


@pytest.mark.parametrize("entry", ATTACKED, ids=named)
def test_epsilon_grows_over_the_ramp(entry):
    one = made(entry, epsilon=0.2, ramp=0.5)
    assert [one.epsilon_at(progress) for progress in (0, 0.25, 0.5, 1)] == [0, 0.1, 0.2, 0.2]
    assert made(entry, epsilon=0.2, ramp=0.0).epsilon_at(0) == 0.2


class Seeing(nn.Module):
    """A linear network that remembers what it was shown, and in which mode."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.shown = []

    def forward(self, x):
        self.shown.append((self.training, x.detach().clone()))
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("entry", ATTACKED, ids=named)
def test_it_is_attacked_in_evaluation_mode_and_trained_in_training_mode(entry, batch):
    net = Network(Seeing(), preprocessing=Preprocessing(channels=1))
    net.module.train()
    made(entry, ramp=0.0).loss(net, *batch, 0.0, generator())
    modes = [mode for mode, _ in net.module.shown]
    assert not modes[0]
    assert modes == sorted(modes)
    trained = [images for mode, images in net.module.shown if mode]
    away = (trained[-1] - batch[0]).abs().amax()
    reach = 0.3 if entry.name == "n_fgsm" else 0.1
    assert 0.099 < float(away) <= reach + 1e-6
    assert all(float(images.amin()) >= 0 and float(images.amax()) <= 1 for images in trained)


@pytest.mark.parametrize("entry", ATTACKED, ids=named)
def test_a_network_without_a_gradient_cannot_be_attacked(entry, batch):
    class Detached(Seeing):
        def forward(self, x):
            return nn.functional.linear(x.flatten(1).detach(), self.linear.weight)

    with pytest.raises(ModelError, match="gives logits without a gradient"):
        made(entry, ramp=0.0).loss(
            Network(Detached(), preprocessing=Preprocessing(channels=1)), *batch, 0.0, generator()
        )


def test_n_fgsm_steps_by_epsilon_from_uniform_noise(batch):
    net = Network(Seeing(), preprocessing=Preprocessing(channels=1))
    pixels = torch.full_like(batch[0], 0.5)
    objective("n_fgsm", epsilon=0.1, noise=1.5, ramp=0.0).loss(net, pixels, batch[1], 1.0, generator())
    noisy, trained = (images for _, images in net.module.shown)
    noise = ((noisy - pixels) / 0.15).flatten()
    assert stats.kstest(noise.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    step = trained - noisy
    assert torch.allclose(step.abs(), torch.tensor(0.1), atol=1e-6)
    leaf = noisy.clone().requires_grad_()
    F.cross_entropy(net(leaf), batch[1]).backward()
    assert torch.equal(step.sign(), leaf.grad.sign())


def test_trades_is_cross_entropy_plus_beta_times_the_divergence(batch):
    net = Network(Seeing(), preprocessing=Preprocessing(channels=1))
    loss = objective("trades", beta=2.5, steps=3, ramp=0.0).loss(net, *batch, 0.0, generator())
    clean, attacked = (net.module.linear(images.flatten(1)) for _, images in net.module.shown[-2:])
    p, q = clean.softmax(1), attacked.softmax(1)
    expected = F.cross_entropy(clean, batch[1]) + 2.5 * (p * (p / q).log()).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    noise = net.module.shown[1][1] - batch[0].clamp(1e-6, 1 - 1e-6)
    assert float(noise.abs().max()) < 0.006  # the start
    ascent = [divergence(clean, net.module.linear(x.flatten(1))).mean().item() for _, x in net.module.shown[1:4]]
    assert ascent == sorted(ascent)
    assert divergence(clean, attacked).mean().item() > ascent[-1]


def test_mart_is_what_its_paper_writes(batch):
    net = Network(Seeing(), preprocessing=Preprocessing(channels=1))
    loss = objective("mart", weight=3.0, steps=2, ramp=0.0).loss(net, *batch, 0.0, generator())
    with torch.no_grad():
        clean, attacked = (net.module.linear(images.flatten(1)).softmax(1) for _, images in net.module.shown[-2:])
    terms = []
    for p, q, y in zip(clean, attacked, batch[1].tolist(), strict=True):
        best = max(float(q[k]) for k in range(10) if k != y)
        weighted = 3.0 * float((p * (p / q).log()).sum()) * (1 - float(p[y]))
        terms.append(-math.log(float(q[y])) - math.log(1 - best) + weighted)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_boosted_cross_entropy_is_finite_for_any_confidence():
    logits = torch.tensor([[200.0, 0.0, -200.0], [-200.0, 0.0, 200.0], [0.0, 0.0, 0.0]], requires_grad=True)
    found = boosted_cross_entropy(logits, torch.tensor([0, 0, 0]))
    found.sum().backward()
    assert found.tolist() == pytest.approx([0, 400 + 200, math.log(3) - math.log(2 / 3)], abs=1e-4)
    assert bool(logits.grad.isfinite().all())


# -- noise and mixtures -----------------------------------------------------------------------------------------------


def test_input_noise_is_gaussian_and_clipped(batch):
    net = Network(Seeing(), preprocessing=Preprocessing(channels=1))
    pixels = torch.full((len(batch[1]), 1, 8, 8), 0.5)
    objective("input_noise", std=0.05).loss(net, pixels, batch[1], 0.0, generator())
    noise = (net.module.shown[0][1] - 0.5).flatten() / 0.05
    assert stats.kstest(noise.numpy(), stats.norm.cdf).pvalue > 0.01
    objective("input_noise", std=5.0).loss(net, pixels, batch[1], 0.0, generator())
    assert set(net.module.shown[1][1][0].flatten().sort().values[[0, -1]].tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_a_mix_is_from_its_beta_distribution(alpha):
    own = generator()
    shares = [Mix.drawn(4, alpha, own, torch.device("cpu")).share for _ in range(400)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_mixup_is_the_cross_entropy_of_mixed_labels(batch):
    net, (pixels, labels) = network(), batch
    mix = Mix.drawn(len(pixels), 1.0, generator(3), pixels.device)
    mixed = mix.share * pixels + (1 - mix.share) * pixels[mix.partners]
    soft = mix.share * F.one_hot(labels, 10) + (1 - mix.share) * F.one_hot(labels[mix.partners], 10)
    found = objective("mixup").loss(net, pixels, labels, 0.0, generator(3))
    assert found.item() == pytest.approx(F.cross_entropy(net(mixed), soft).item(), rel=1e-5)


@pytest.mark.parametrize("layer", ["conv1", "dense", "penultimate", "relu3"])
def test_manifold_mixup_mixes_the_activations_of_the_layer(layer, batch):
    net, (pixels, labels) = network(), batch
    stop = {"penultimate": "relu3"}.get(layer, layer)
    names = [name for name, _ in net.module.named_children()]
    first, rest = net.module[: names.index(stop) + 1], net.module[names.index(stop) + 1 :]
    own = generator(5)
    torch.randint(1, (), generator=own)
    mix = Mix.drawn(len(pixels), 2.0, own, pixels.device)
    expected = mix.cross_entropy(rest(mix.of(first(pixels))), labels)
    found = objective("manifold_mixup", layers=[layer]).loss(net, pixels, labels, 0.0, generator(5))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_manifold_mixup_chooses_among_all_layers(batch, monkeypatch):
    module = sys.modules["manifoldscope.training.objectives.manifold_mixup"]
    seen = []
    monkeypatch.setattr(
        module, "replaced", lambda net, pixels, layer, by: (seen.append(layer), replaced(net, pixels, layer, by))[1]
    )
    net, own = network(), generator()
    for _ in range(30):
        objective("manifold_mixup", layers=["input", "conv2", "relu3"]).loss(net, *batch, 0.0, own)
    assert set(seen) == {"conv2", "relu3"}
    assert 10 < len(seen) < 28  # and else the input


# -- shaping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", SHAPING, ids=named)
def test_a_shaping_loss_is_cross_entropy_plus_strength_times_its_penalty(entry, batch):
    net = network()
    penalty = getattr(penalties, entry.name)
    for layer, strength in (("penultimate", 0.3), ("dense", -2.0)):
        logits, found = logits_and_features(net, batch[0], layer)
        expected = F.cross_entropy(logits, batch[1]) + strength * penalty(found, batch[1])
        loss = made(entry, strength=4 * strength, layer=layer, ramp=0.2).loss(net, *batch, 0.05, generator())
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("entry", SHAPING, ids=named)
def test_training_moves_the_penalty_the_way_of_the_sign(entry, digits):
    found = {}
    for strength in (-0.2, 0.0, 0.2):
        net = network()
        fit(net, digits[0], made(entry, strength=5 * strength), epochs=3, batch_size=60)
        with torch.no_grad():
            activations = logits_and_features(net, net.pixels(digits[0]))[1]
        found[strength] = float(getattr(penalties, entry.name)(activations, digits[0].labels))
    assert found[-0.2] > found[0.0] > found[0.2]


@pytest.mark.parametrize("strength", [-1e4, 1e4])
@pytest.mark.parametrize("entry", SHAPING, ids=named)
def test_an_extreme_strength_does_not_break_training(entry, strength, digits):
    net = network()
    history = fit(net, digits[0], made(entry, strength=strength), epochs=1, batch_size=60)
    assert math.isfinite(history[-1].loss)
    assert all(bool(value.isfinite().all()) for value in state(net).values())


def test_penalties_are_computed_in_single_precision_under_autocast(batch):
    net = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective("nuclear_norm").loss(net, *batch, 1.0, generator())
    assert loss.dtype == torch.float32
    expected = objective("nuclear_norm").loss(net, *batch, 1.0, generator())
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


def test_a_layer_that_is_not_there_is_named(batch):
    with pytest.raises(ModelError, match="there is no layer 'dens'; did you mean 'dense'"):
        objective("centre", layer="dens").loss(network(), *batch, 0.0, generator())
    with pytest.raises(ModelError, match="is called 1 time"):
        objective("manifold_mixup", layers=["dense@3"]).loss(network(), *batch, 0.0, generator())
    for seed in range(3):  # whichever is chosen first
        with pytest.raises(ModelError, match="there is no layer 'dens'"):
            objective("manifold_mixup", layers=["input", "dense", "dens"]).loss(network(), *batch, 0.0, generator(seed))


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("adversarial", {"epsilon": 8}, AttackError, "did you mean 8/255"),
        ("trades", {"epsilon": 0.1, "steps": 0}, StudyError, "steps = 0"),
        ("mart", {"epsilon": 0.1, "relative_step_size": -1.0}, AttackError, "relative_step_size = -1"),
        ("fast", {"epsilon": 0.1, "ramp": 2}, StudyError, "ramp = 2"),
        ("n_fgsm", {"epsilon": 0.1, "noise": -1.0}, StudyError, "noise = -1"),
        ("trades", {"epsilon": 0.1, "beta": -1.0}, StudyError, "beta = -1"),
        ("mart", {"epsilon": 0.1, "weight": math.inf}, StudyError, "weight = inf"),
        ("label_smoothing", {"smoothing": 1.0}, StudyError, "smoothing = 1"),
        ("input_noise", {"std": -0.1}, StudyError, "std = -0.1"),
        ("mixup", {"alpha": 0.0}, StudyError, "alpha = 0"),
        ("manifold_mixup", {"alpha": -1.0}, StudyError, "alpha = -1"),
        ("manifold_mixup", {"layers": []}, ModelError, "no layer was asked for"),
        ("manifold_mixup", {"layers": ["conv1 [mean]"]}, StudyError, "expected 'conv1'"),
        (
            "manifold_mixup",
            {"layers": ["input", "conv*"]},
            StudyError,
            r"the pattern 'conv\*'; expected layers by name",
        ),
        ("centre", {"layer": "all"}, StudyError, "layer = 'all' is a pattern; expected one layer by name"),
        ("centre", {"ramp": -0.1}, StudyError, "ramp = -0.1"),
        ("centre", {"strength": math.nan}, StudyError, "strength = nan"),
        ("centre", {"layer": "conv1 [positions]"}, StudyError, "one point per image"),
        ("centre", {"layer": "conv1 [middle]"}, ModelError, "there is no pool 'middle'"),
        ("low_rank", {"rank": 0}, StudyError, "rank = 0"),
        ("coding_rate", {"squared_distortion": -1.0}, StudyError, "squared_distortion = -1"),
        ("power_law", {"exponent": 0.0}, StudyError, "exponent = 0"),
        ("orthogonal_projection", {"between": -1.0}, StudyError, "between = -1"),
    ],
)
def test_impossible_settings_are_refused(name, settings, error, message):
    with pytest.raises(error, match=message):
        OBJECTIVES[name].target(**settings)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_setting_of_another_type_is_told_by_its_name(entry):
    needed = {"epsilon": 0.1} if "epsilon" in entry.settings.model_fields else {}
    for name in entry.settings.model_fields:
        for wrong in (1j, True, {"a": 1}):
            with pytest.raises((StudyError, ModelError), match=rf"{name} = .*expected|is no layer; expected"):
                entry.target(**{**needed, name: wrong})


def test_a_study_file_may_list_layers():
    assert OBJECTIVES["manifold_mixup"].validate({"layers": ["input", "conv1"]})["layers"] == ["input", "conv1"]


def test_each_file_of_the_package_is_an_objective_or_shared_by_several():
    files = {each.name for each in pkgutil.iter_modules(objectives.__path__)}
    assert files - {entry.name for entry in ENTRIES} == {"objective", "attacked", "mixing", "shaping"}
