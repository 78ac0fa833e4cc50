"""Projection: what a layer is left with, the gradient through it, and a network that is found as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.errors import ModelError
from manifoldscope.geometry.subspace import Span, change
from manifoldscope.vision import Layer, Network, faster, with_projection
from manifoldscope.vision.activations import activations
from manifoldscope.vision.images import ImageSet
from tests.attacks.networks import convolutional, images

SHAPE = (3, 8, 8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def directions(k: int, n_features: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(n_features, k, generator=seeded(seed))).Q.T


def pixels(n: int = 5) -> Tensor:
    return images(n).raw.pixels.clone()


def points(network: Network, layer: str | Layer, shown: ImageSet) -> Tensor:
    return torch.cat([manifold.points for manifold in activations(network, shown, layers=[layer])])


class Tokens(nn.Module):
    """A transformer of one block: a class token, and a token for each of 16 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6, generator=seeded(3)))
        self.norm = nn.LayerNorm(6)
        self.block = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.block(self.norm(tokens)).mean(1))


@pytest.fixture
def tokens() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(Tokens().eval(), mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize("layer", ["penultimate", "0", "2", Layer("1", "mean")])
def test_no_direction_projected_out_and_the_whole_span_kept_change_nothing(layer):
    network, shown = convolutional(), images(6)
    n_features = points(network, layer, shown).shape[1]
    nothing = with_projection(
        network, layer, torch.zeros(0, n_features), torch.randn(n_features, generator=seeded()), pixels_shape=SHAPE
    )
    assert torch.equal(nothing(pixels(6)), network(pixels(6)))
    span = Span.of(points(network, layer, shown))
    kept = with_projection(network, layer, span.leading(span.rank), span.centre, keep="only", pixels_shape=SHAPE)
    # the six images lie in the span of their points, up to float32
    torch.testing.assert_close(kept(pixels(6)), network(pixels(6)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep", ["without", "only"])
@pytest.mark.parametrize("layer", ["penultimate", "0", Layer("1", "mean"), Layer("2", 5), Layer("2", "positions")])
def test_the_layer_is_left_with_the_projection_of_its_points(layer, keep):
    network, shown = convolutional(), images(6)
    before = points(network, layer, shown)
    basis, centre = directions(3, before.shape[1]), before.mean(0)
    changed = with_projection(network, layer, basis, centre, keep=keep, scale=0.7, pixels_shape=SHAPE)
    asked = Layer.of(layer)
    name = asked.name if asked.name == "penultimate" else f"module.{asked.name}"
    after = points(changed, Layer(name, asked.pool), shown)
    torch.testing.assert_close(after, before + 0.7 * change(before, basis, centre, keep=keep), rtol=1e-4, atol=1e-5)
    assert changed.name == network.name


@pytest.mark.parametrize("pool", [None, "class_token", "patch_tokens_mean", "mean", 4, "positions", "flatten"])
def test_of_a_transformer_that_token_changes_which_is_measured(tokens, pool):
    shown, layer = images(6), Layer("norm", pool)
    before = points(tokens, layer, shown)
    basis, centre = directions(2, before.shape[1]), torch.randn(before.shape[1], generator=seeded(9))
    changed = with_projection(tokens, layer, basis, centre, pixels_shape=SHAPE)
    after = points(changed, Layer("module.norm", pool), shown)
    torch.testing.assert_close(after, before + change(before, basis, centre), rtol=1e-4, atol=1e-5)
    others = {None: (1, 17), "class_token": (1, 17), "patch_tokens_mean": (0, 1), 4: (5, 17)}
    for place in range(*others.get(pool, (0, 0))):
        here = (points(tokens, Layer("norm", place), shown), points(changed, Layer("module.norm", place), shown))
        assert torch.equal(*here)


def test_gradients_are_those_of_a_module_that_projects_by_itself():
    network = convolutional()
    basis, centre = directions(4, 512), torch.randn(512, generator=seeded(2))
    changed = with_projection(network, "penultimate", basis, centre, pixels_shape=SHAPE)

    class Explicit(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - (x - centre) @ basis.T @ basis

    by_hand = Network(
        nn.Sequential(*network.module[:4], Explicit(), network.module[4]), mean=(0.4,) * 3, std=(0.3,) * 3
    )
    by_hand.module.eval()

    def gradient(asked: Network) -> Tensor:
        leaf = pixels().requires_grad_(True)
        loss = F.cross_entropy(asked(leaf), torch.arange(5) % 4)
        return torch.autograd.grad(loss, leaf)[0]

    torch.testing.assert_close(gradient(changed), gradient(by_hand))
    assert not torch.allclose(gradient(changed), gradient(network), rtol=1e-3)


def test_the_network_is_found_as_it_was_also_after_an_error():
    network = convolutional()
    network.module.train()
    before = copy.deepcopy(network.module.state_dict())
    changed = with_projection(network, "0", directions(2, 512), torch.zeros(512), pixels_shape=SHAPE)
    logits = changed(pixels())
    with pytest.raises(RuntimeError):
        changed(torch.rand(2, 5, 8, 8))
    assert logits.requires_grad
    assert network.module.training
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in network.module.modules())
    network.module.load_state_dict(before)
    network.module.eval()
    after = network(pixels())
    assert torch.equal(after, convolutional()(pixels()))


def test_the_call_that_is_measured_is_the_one_that_changes():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.head = nn.ReLU(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.relu(self.relu(x.flatten(1)) + 1))

    network = Network(Twice().eval())
    shown = torch.rand(3, 1, 2, 2, generator=seeded())
    centre = torch.full((4,), 2.0)

    def all_out(layer: str) -> Tensor:
        changed = with_projection(network, layer, torch.eye(4), centre, pixels_shape=(1, 2, 2))
        return changed(shown)

    with torch.no_grad():
        assert torch.equal(all_out("relu"), network.module.head(centre.expand(3, 4)))
        torch.testing.assert_close(all_out("relu@0"), network.module.head((centre + 1).expand(3, 4)))


def test_a_faster_copy_projects_as_well_even_where_a_batch_norm_follows_the_layer():
    network = convolutional()
    network.module[1].running_var.copy_(torch.arange(1.0, 9.0))
    for layer in ("0", "1", "penultimate"):
        changed = with_projection(network, layer, directions(3, 512), torch.zeros(512), pixels_shape=SHAPE)
        fast = faster(changed, pixels())
        with torch.no_grad():
            torch.testing.assert_close(fast.network(pixels()), changed(pixels()), rtol=1e-4, atol=1e-5)
        assert (layer == "0") is not bool(fast.means)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": "half"}, "keep = 'half'; expected 'without' or 'only'"),
        ({"layer": Layer("0", "max")}, "the maximum over positions is no linear function of them"),
        ({"layer": "nowhere"}, "there is no layer 'nowhere'"),
        ({"basis": torch.ones(2, 512)}, "the directions are not orthonormal, by 5.1e"),
        ({"basis": torch.eye(3)}, r"has 512 features, and basis and centre have shapes \(3, 3\) and \(512,\)"),
        ({"pixels_shape": None}, "takes images of any size; give pixels_shape"),
    ],
)
def test_what_cannot_be_projected_is_refused_in_one_sentence(change, message):
    asked: dict[str, Any] = {"layer": "penultimate", "basis": torch.eye(512)[:2], "pixels_shape": SHAPE, **change}
    with pytest.raises(ModelError, match=message):
        with_projection(convolutional(), asked.pop("layer"), asked.pop("basis"), torch.zeros(512), **asked)
