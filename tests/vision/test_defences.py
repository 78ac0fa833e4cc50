"""Defences: known answers of each, and what all of them keep of a network."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from manifoldscope.attacks.checks import network_checks
from manifoldscope.errors import ModelError, StudyError
from manifoldscope.seeds import generator
from manifoldscope.vision.activations import activations, layer_table
from manifoldscope.vision.datasets import images
from manifoldscope.vision.defences import DEFENCES, Denoiser, Gabor, NoiseVote, denoiser_of, with_other_noise
from manifoldscope.vision.defences.gabor import GaborFront, gabor_filters
from manifoldscope.vision.depth import places
from manifoldscope.vision.fast import faster
from manifoldscope.vision.hooks import captured, resolve
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.multiply_adds import multiply_adds
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources import network as source

ENTRIES = list(DEFENCES)


def colour(**settings):
    return source("small:resnet8", channels=3, size=16, n_classes=5, mean=[0.5] * 3, std=[0.25] * 3, **settings)


def pixels(n=4, side=16, channels=3):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def evaluating(network):
    network.module.eval()
    return network


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_defended_network_is_the_same_network_to_everybody_else(entry):
    net = colour()
    before = {name: value.clone() for name, value in net.module.state_dict().items()}
    made = evaluating(entry.target().around(net, seed=3))
    kept = ("name", "mean", "std", "preprocessing", "class_names", "provenance")
    assert [getattr(made, name) for name in kept] == [getattr(net, name) for name in kept]
    assert made.module.module is net.module
    assert made(pixels()).shape == (4, 5)
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items())
    assert (made.n_parameters > net.n_parameters) is bool(entry.traits.get("learned"))
    width = layer_table(net)[-1].shape
    assert layer_table(made)[-1] == ("penultimate", "input of module.linear", width)
    (manifold,) = activations(made, images_of(pixels()))
    assert manifold.points.shape == (4, *width)
    fast = faster(made, pixels())
    assert fast.means
    assert fast.difference < 1e-5


def images_of(shown):
    return ImageSet.of(shown, [0] * len(shown))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_defended_network_passes_the_checks(entry):
    drawn = images("digits", images_per_class=2)
    net = source("small:cnn", channels=1, size=8, n_classes=10)
    rows = network_checks(evaluating(entry.target().around(net)), drawn)
    assert [row["check"] for row in rows if not row["passed"]] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_first_weights_are_those_of_the_seed_and_the_global_generator_is_left_alone(entry):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, same, other = (evaluating(entry.target().around(colour(), seed=seed)) for seed in (0, 0, 1))
    outputs = [each(pixels()) for each in (one, same, other)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outputs[0], outputs[1])
    weights = [dict(each.module.named_parameters()) for each in (one, other)]
    own = [name for name in weights[0] if not name.startswith("module.")]
    differ = [name for name in own if not torch.equal(weights[0][name], weights[1][name])]
    assert bool(differ) is bool(entry.traits.get("learned"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gabor(orientations=0), "orientations = 0; expected at least 1"),
        (lambda: Gabor(frequency=0.5), "less than 0.5"),
        (lambda: Gabor(width=0.0), "width = 0.0"),
        (lambda: Gabor(width=0.01), r"width = 0\.01; expected at least 0\.0625, a quarter of a pixel"),
        (lambda: Gabor(frequency=1e-9), "the filters reach over 512 pixels"),
        (lambda: Gabor(octaves=5000), "the filters reach over 512 pixels: raise the frequency, or give fewer octaves"),
        (lambda: Denoiser(layers=1), "layers = 1; expected at least 2"),
        (lambda: Denoiser(channels=0), "channels = 0"),
        (lambda: NoiseVote(votes=0), "votes = 0; expected at least 1"),
        (lambda: NoiseVote(std=math.nan), "std = nan"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(StudyError, match=message):
        make()


@pytest.mark.parametrize("kind", [Gabor, Denoiser, NoiseVote])
def test_a_setting_of_another_type_is_told_by_its_name(kind):
    for each in fields(kind):
        for wrong in (None, "2", True):
            with pytest.raises(StudyError, match=rf"{each.name} = {wrong!r}; expected a (whole )?number"):
                kind(**{each.name: wrong})


@pytest.mark.parametrize("defence", [Gabor(), Denoiser(), NoiseVote()], ids=lambda made: type(made).__name__)
def test_a_module_is_defended_as_a_network_and_nothing_else_is(defence):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3))
    module(torch.zeros(1, 1, 8, 8))
    assert defence.around(module)(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    with pytest.raises(ModelError, match=r"pass a torch\.nn\.Module"):
        defence.around("small:cnn")


@pytest.mark.parametrize("defence", [Gabor(), Denoiser()])
def test_a_front_has_to_know_the_channels(defence):
    unclear = Network(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)))
    with pytest.raises(ModelError, match="give the network channels = 1 or 3"):
        defence.around(unclear)


# -- Gabor filters -----------------------------------------------------------------------------------------------------


def grating(frequency, angle, phase=0.0, side=48):
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    return (2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle)) + phase).cos().float()[None, None]


def responses(image, *, orientations=8, frequencies=(0.25, 0.125), width=0.4):
    """Even, odd, -even and -odd simple cells and the complex cell of each filter in the middle of an image."""
    even, odd = gabor_filters(orientations, list(frequencies), width)
    front = GaborFront(channels=1, even=even, odd=odd)
    return front.cells(image)[0, :, 24, 24].view(5, len(even))


@pytest.mark.parametrize(("octave", "frequency"), [(0, 0.25), (1, 0.125)])
@pytest.mark.parametrize("turn", range(8))
def test_a_complex_cell_responds_most_to_its_wave_and_with_one(octave, frequency, turn):
    complex_cells = responses(grating(frequency, math.pi * turn / 8))[4]
    assert int(complex_cells.argmax()) == 8 * octave + turn
    assert float(complex_cells.max()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("turn", [0, 3, 7])
def test_complex_cells_do_not_depend_on_the_phase_and_simple_cells_do(turn):
    angle, place = math.pi * turn / 8, 8 + turn
    found = [responses(grating(0.125, angle, phase))[:, place] for phase in (0.0, 0.7, 2.0, 3.9)]
    assert [float(each[4]) for each in found] == pytest.approx([1] * 4, abs=1e-5)
    here = 2 * math.pi * 0.125 * 24 * (math.cos(angle) + math.sin(angle))
    for phase, each in zip((0.0, 0.7, 2.0, 3.9), found, strict=True):
        even, odd = math.cos(here + phase), -math.sin(here + phase)
        expected = [max(even, 0), max(odd, 0), max(-even, 0), max(-odd, 0)]
        assert each[:4].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_cell_is_tuned_as_the_spectrum_of_its_envelope_says():
    """The response to a wave k is exp(-2 pi^2 sigma^2 |k - k0|^2), but for the cut at two sigma."""
    sigma = 0.8 / 0.125
    for frequency in (0.1, 0.125, 0.15):
        found = float(responses(grating(frequency, 0.0), frequencies=(0.125,), width=0.8)[4, 0])
        expected = math.exp(-2 * (math.pi * sigma * (frequency - 0.125)) ** 2)
        assert found == pytest.approx(expected, abs=0.1)


def test_no_cell_responds_to_a_uniform_image_and_its_gradient_is_finite():
    image = torch.full((1, 1, 48, 48), 0.7, requires_grad=True)
    front = GaborFront(channels=1, even=gabor_filters(4, [0.25], 0.4)[0], odd=gabor_filters(4, [0.25], 0.4)[1])
    cells = front.cells(image)
    assert float(cells.detach().abs().max()) < 1e-6
    cells.sum().backward()
    assert bool(image.grad.isfinite().all())
    assert bool(front.cells(torch.zeros(1, 1, 8, 8, requires_grad=True)).isfinite().all())


def test_each_channel_has_cells_of_its_own():
    even, odd = gabor_filters(4, [0.25], 0.4)
    front = GaborFront(channels=3, even=even, odd=odd)
    alone = torch.zeros(1, 3, 16, 16)
    alone[:, 1] = pixels(1, channels=1)
    cells = front.cells(alone).view(3, -1, 16, 16)
    assert float(cells[[0, 2]].detach().abs().max()) < 1e-6
    grey = GaborFront(channels=1, even=even, odd=odd)
    torch.testing.assert_close(cells[1], grey.cells(alone[:, 1:2])[0])


# -- the denoiser ------------------------------------------------------------------------------------------------------


def test_a_denoiser_changes_nothing_before_it_is_trained():
    net = evaluating(colour())
    made = Denoiser(layers=3, channels=4).around(net, seed=1)
    assert torch.equal(made(pixels()), net(pixels()))
    assert made.n_parameters - net.n_parameters == 9 * (3 * 4 + 4 * 4 + 4 * 3) + 4 + 4 + 3
    assert denoiser_of(made).module is net.module
    with pytest.raises(ModelError, match="has no denoiser; give its table of"):
        denoiser_of(Gabor().around(net))


# -- votes over noise --------------------------------------------------------------------------------------------------


def copies(shown, *, votes, std, seed=0):
    """The noisy copies of some images, one after the other."""
    noise = torch.randn(votes, *shown.shape[1:], generator=generator(seed, "votes"))
    return [shown + std * each for each in noise]


def test_a_vote_without_noise_is_the_network():
    net = evaluating(colour())
    made = NoiseVote(std=0.0, votes=3).around(net)
    torch.testing.assert_close(made(pixels()), net(pixels()).log_softmax(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("votes", [1, 2, 5])
def test_a_vote_is_the_mean_probability_of_noisy_copies(votes):
    net = evaluating(colour())
    made = NoiseVote(std=0.3, votes=votes, seed=2).around(net)
    shown = [net(copy).softmax(1) for copy in copies(pixels(), votes=votes, std=0.3, seed=2)]
    torch.testing.assert_close(made(pixels()).exp(), torch.stack(shown).mean(0))
    assert torch.equal(made(pixels()), made(pixels()))
    torch.testing.assert_close(made(pixels())[1:2], made(pixels()[1:2]))  # whatever is beside it


def test_the_gradient_is_that_of_the_expectation():
    """That of log mean p is the mean of those of log p, weighted by p."""
    net = evaluating(colour())
    leaf = pixels(2).requires_grad_()
    (found,) = torch.autograd.grad(NoiseVote(std=0.3, votes=4).around(net)(leaf)[:, 1].sum(), leaf)
    probabilities, gradients = [], []
    for copy in copies(pixels(2), votes=4, std=0.3):
        copy.requires_grad_()
        log_p = net(copy).log_softmax(1)[:, 1]
        probabilities.append(log_p.exp().detach())
        gradients.append(torch.autograd.grad(log_p.sum(), copy)[0])
    weights = torch.stack(probabilities) / torch.stack(probabilities).sum(0)
    expected = (weights[:, :, None, None, None] * torch.stack(gradients)).sum(0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_in_training_one_noisy_copy_is_shown_from_the_global_generator():
    net = Network(
        nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 2)), preprocessing=Preprocessing(channels=1), std=(0.5,)
    )
    shown = []
    net.module.register_forward_pre_hook(lambda _, args: shown.append(args[0].detach()))
    made = NoiseVote(std=0.2, votes=4).around(net)
    made.module.train()
    image = torch.full((8, 1, 64, 64), 0.5)
    for _ in range(2):
        made(image)
    assert [each.shape for each in shown] == [image.shape] * 2
    noise = [(each * 0.5 - image) for each in shown]
    assert float(noise[0].std()) == pytest.approx(0.2, rel=0.02)  # in pixels, whatever the normalisation
    assert not torch.equal(noise[0][0], noise[0][1])
    assert not torch.equal(*noise)
    torch.manual_seed(5)
    made(image)
    torch.manual_seed(5)
    made(image)
    assert torch.equal(shown[2], shown[3])


def test_layers_are_heard_at_the_last_copy():
    net = evaluating(colour())
    made = NoiseVote(std=0.3, votes=4).around(net)
    last = copies(pixels(), votes=4, std=0.3)[-1]
    for layer, name in (("penultimate", "penultimate"), ("layer2 [mean]", "module.layer2 [mean]")):
        (found,) = activations(made, images_of(pixels()), layers=[name])
        ((_, expected),) = captured(net, resolve(net, [Layer.of(layer)], last[:1]), last)
        torch.testing.assert_close(found.points, expected)
    kept = [place for place in places(made, pixels()) if not place.left_out]
    assert all(place.name.endswith("@1") for place in kept if place.name.startswith("module."))


def test_other_noise_is_another_network_with_the_same_weights():
    made = evaluating(NoiseVote(votes=3).around(colour()))
    other = with_other_noise(made, seed=9)
    assert other.module.module is made.module.module
    assert not torch.equal(other(pixels()), made(pixels()))
    expected = evaluating(NoiseVote(votes=3, seed=9).around(colour()))
    assert torch.equal(other(pixels()), expected(pixels()))
    with pytest.raises(ModelError, match="does not vote over noise"):
        with_other_noise(colour(), seed=1)


# -- what they cost ----------------------------------------------------------------------------------------------------


def test_multiply_adds_are_counted():
    net = evaluating(colour())
    plain = multiply_adds(net, pixels(2))
    assert plain == multiply_adds(net, pixels(1))
    assert multiply_adds(NoiseVote(votes=6).around(net), pixels(1)) == 6 * plain
    assert multiply_adds(Denoiser(layers=2, channels=4).around(net), pixels(1)) - plain == 9 * 24 * 16 * 16
    filters = 2 * 2 * 15 * 15 * 3  # even and odd, two orientations, one octave
    mixed = 5 * 2 * 3 * 3
    gabor = Gabor(orientations=2, octaves=1, frequency=0.125).around(net)
    assert multiply_adds(gabor, pixels(1)) - plain == (filters + mixed) * 16 * 16
    assert F.cross_entropy(net(pixels()), torch.zeros(4, dtype=torch.long)).requires_grad  # found as it was
