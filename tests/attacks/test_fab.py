"""FAB: exact where the network is linear, beside its authors' code, and at its end inside the ball."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import nn

from manifoldscope.attacks.ball import distance
from manifoldscope.attacks.fab import FABT, to_plane
from manifoldscope.errors import AttackError, ModelError
from tests.attacks.networks import Wrapped, fitted, images

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
EPSILONS = {"linf": 0.115, "l2": 1.2}
"""Where some of the images fall and some stand."""


@pytest.fixture(scope="module")
def known():
    drawn = images(48)
    network = fitted(drawn)
    return Wrapped(network).eval(), network.pixels(drawn), drawn.labels


def misclassified(module, attacked, labels):
    with torch.no_grad():
        return module(attacked).argmax(1) != labels


# --- the nearest image ------------------------------------------------------------------------------------------------


def linear(n_classes, seed):
    """A linear network of which no nearest image reaches the box, and for each image how near it is in either norm."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(n_classes, 27, generator=generator)
    pixels = 0.4 + 0.2 * torch.rand(6, 3, 3, 3, generator=generator)
    module = nn.Sequential(nn.Flatten(), nn.Linear(27, n_classes))
    module[1].weight.data, module[1].bias.data = weights, -weights @ pixels.mean(0).flatten()
    logits = module(pixels).detach()
    labels = logits.argmax(1)
    others = torch.arange(n_classes).expand(6, -1) != labels[:, None]
    planes, margins = weights[labels, None] - weights, logits.gather(1, labels[:, None]) - logits
    away = {norm: margins / planes.norm(p=dual, dim=2) for norm, dual in (("linf", 1), ("l2", 2))}
    return module, pixels, labels, {n: d.where(others, torch.inf).amin(1).tolist() for n, d in away.items()}


@every_norm
@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_nearest_image_of_a_linear_network_is_found_within_one_percent(n_classes, norm):
    module, pixels, labels, nearest = linear(n_classes, seed=n_classes)
    assert max(nearest["linf"]) < 0.3  # else the box would bind
    for row, away in enumerate(nearest[norm]):
        image, label = pixels[row : row + 1], labels[row : row + 1]
        for share, found in ((1.01, True), (0.99, False)):
            attack = FABT(epsilon=share * away, norm=norm, steps=5)
            assert bool(misclassified(module, attack(module, image, label), label)) == found


def shortest(point, normal, rise, norm):
    """The length of the shortest way to the plane within the box, by a solver that knows nothing of sorting."""
    bounds = list(zip(-point, 1 - point, strict=True))
    if norm == "l2":
        plane = {"type": "eq", "fun": lambda d: normal @ d - rise, "jac": lambda d: normal}
        settings = {"ftol": 1e-12, "maxiter": 500}
        start = np.zeros_like(point)
        found = minimize(
            lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=bounds, constraints=plane, options=settings
        )
        return np.sqrt(found.fun) if found.success else None
    k = len(point)  # least t with |d| <= t
    beyond = np.block([[np.eye(k), -np.ones((k, 1))], [-np.eye(k), -np.ones((k, 1))]])
    cost, plane = np.r_[np.zeros(k), 1], np.r_[normal, 0][None]
    found = linprog(cost, beyond, np.zeros(2 * k), plane, [rise], [*bounds, (0, None)])
    return found.fun if found.success else None


@every_norm
def test_the_way_to_a_plane_is_the_shortest_within_the_box(norm):
    numbers = np.random.default_rng(0)
    n, k = 40, 7
    points = numbers.random((n, k)).round(1)  # some lie on the edge
    normals = numbers.standard_normal((n, k)) * 10.0 ** numbers.integers(-3, 2, (n, k))
    normals[::3, 2] = 0
    most = np.where(normals > 0, normals * (1 - points), -normals * points).sum(1)
    least = np.where(normals < 0, normals * (1 - points), -normals * points).sum(1)
    share = numbers.random(n)
    share[:2] = 1.5, -0.5  # beyond the box, on either side
    rises = least + share * (most - least)
    ways = to_plane(*(torch.from_numpy(each) for each in (points, normals, rises)), norm).numpy()
    assert (points + ways >= -1e-12).all()
    assert (points + ways <= 1 + 1e-12).all()
    reached = (normals * ways).sum(1)
    np.testing.assert_allclose(reached[2:], rises[2:], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(reached[:2], [most[0], least[1]], rtol=1e-9)
    compared = 0
    for point, normal, rise, way in zip(points[2:], normals[2:], rises[2:], ways[2:], strict=True):
        length = shortest(point, normal, rise, norm)
        if length is not None:  # the solver does not always get there
            compared += 1
            assert np.linalg.norm(way, ord=np.inf if norm == "linf" else 2) == pytest.approx(length, rel=1e-5, abs=1e-7)
    assert compared >= 0.75 * n


@every_norm
def test_a_plane_is_reached_whatever_the_scale_of_its_normal(norm):
    points = torch.tensor([[0.5, 1.0, 0.2]])
    normal = torch.tensor([[1.0, 1e-3, -2.0]])
    expected = to_plane(points, normal, torch.tensor([0.3]), norm)
    for scale in (1e-30, 1e30):
        torch.testing.assert_close(to_plane(points, scale * normal, scale * torch.tensor([0.3]), norm), expected)
    nowhere = to_plane(points, 0 * normal, torch.tensor([0.3]), norm)
    assert torch.equal(nowhere, torch.zeros(1, 3))


def test_a_step_goes_beyond_the_plane_and_a_tenth_of_the_way_to_where_it_is_nearest():
    clean, present, gradient = (torch.tensor(each).view(1, 1, 1, 2) for each in ([0.5, 0.5], [0.5, 0.6], [2.0, 0.0]))
    moved = FABT(epsilon=0.1, norm="l2")._beyond(present, clean, gradient, torch.tensor([-0.2]))
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.5 + 1.05 * 0.1, 0.9 * 0.6 + 0.1 * 0.5]))


# --- beside its authors' code -----------------------------------------------------------------------------------------


@every_norm
@pytest.mark.parametrize("restarts", [1, 2])
def test_as_many_images_stand_as_by_its_authors_code(known, norm, restarts):
    peer = pytest.importorskip("pyautoattack.fab_pt", reason="compared with its authors' code: the extra test")
    module, pixels, labels = known
    epsilon = EPSILONS[norm]
    attack = FABT(epsilon=epsilon, norm=norm, steps=30, targets=3, restarts=restarts)
    theirs = peer.FABAttack_PT(
        module,
        norm={"linf": "Linf", "l2": "L2"}[norm],
        n_restarts=restarts,
        n_iter=30,
        eps=epsilon,
        targeted=True,
        n_target_classes=3,
        device=pixels.device,
    )
    ours = ~misclassified(module, attack(module, pixels, labels), labels)
    with torch.random.fork_rng():
        attacked = theirs.perturb(pixels, labels)
    near = distance(pixels, attacked, norm) <= epsilon + 1e-6
    theirs = ~(near & misclassified(module, attacked, labels))
    assert 5 < int(theirs.sum()) < len(labels) - 2  # else nothing is compared
    assert int((ours & ~theirs).sum()) <= 1
    assert int((theirs & ~ours).sum()) <= 3  # ours also projects what it found outside


# --- what every attack keeps to ---------------------------------------------------------------------------------------


@every_norm
def test_an_image_does_not_depend_on_its_company(known, norm):
    module, pixels, labels = known
    attack = FABT(epsilon=EPSILONS[norm], norm=norm, steps=10, targets=2, restarts=2)
    together = misclassified(module, attack(module, pixels, labels), labels)
    few = misclassified(module, attack(module, pixels, labels, batch_size=7), labels)
    back = misclassified(module, attack(module, pixels.flip(0), labels.flip(0)), labels.flip(0)).flip(0)
    assert 0 < int(together.sum()) < len(labels)
    assert torch.equal(together, few)
    assert int((together != back).sum()) <= 1  # in another place it has other random starts
    alone = FABT(epsilon=EPSILONS[norm], norm=norm, steps=10, targets=2)
    together = alone(module, pixels[:12], labels[:12])
    for row in range(0, 12, 3):
        # rounding in passes of other sizes
        torch.testing.assert_close(
            alone(module, pixels[row : row + 1], labels[row : row + 1])[0], together[row], rtol=0, atol=1e-4
        )


@every_norm
def test_a_run_ends_inside_the_ball_after_at_most_two_looks_a_step(known, norm):
    module, pixels, labels = known
    attack = FABT(epsilon=EPSILONS[norm] / 3, norm=norm, steps=6)
    shown = [iterate.images for iterate in attack.run(module, pixels, labels)]
    assert attack.steps + 1 < len(shown) <= sum(attack.passes) / attack.targets == 2 * attack.steps + 1
    away = torch.stack([distance(pixels, each, norm) for each in shown])
    assert float(away[-1].max()) <= attack.epsilon + 1e-6
    assert float(away.max()) > 2 * attack.epsilon  # it has looked outside
    assert all(float(each.min()) >= 0 and float(each.max()) <= 1 for each in shown)
    nearest = away.where(torch.stack([misclassified(module, each, labels) for each in shown]), torch.inf).argmin(0)
    for row in range(0, len(labels), 7):
        found, end = (shown[k][row] - pixels[row] for k in (int(nearest[row]), -1))
        assert float((found * end).sum()) > 0.7 * float(found.norm() * end.norm()) > 0  # in the direction of it


class Constant(nn.Module):
    def forward(self, pixels):
        return torch.arange(4.0).expand(len(pixels), 4) + 0 * pixels.flatten(1).sum(1, keepdim=True)


class Steep(nn.Module):
    """Logits as they should be, with a gradient of NaN."""

    def forward(self, pixels):
        return torch.arange(4.0).expand(len(pixels), 4) + (0 * pixels.flatten(1).sum(1, keepdim=True)).sqrt()


class Nothing(nn.Module):
    def forward(self, pixels):
        return torch.full((len(pixels), 4), torch.nan) * pixels.flatten(1).sum(1, keepdim=True)


@every_norm
@pytest.mark.parametrize("module", [Constant(), Steep(), Nothing()])
def test_without_a_gradient_an_image_stays_where_it_is(module, norm):
    pixels, labels = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 3, 0])
    attack = FABT(epsilon=0.1, norm=norm, steps=5)
    if isinstance(module, Nothing):
        with pytest.raises(ModelError, match="NaN or infinite logits for all 3 images"):
            attack(module, pixels, labels)
    else:
        assert torch.equal(attack(module, pixels, labels), pixels)
    for iterate in attack.run(module, pixels, labels):
        assert torch.equal(iterate.images, pixels)


def test_in_a_ball_of_no_size_only_the_image_is_shown(known):
    module, pixels, labels = known
    attack = FABT(epsilon=0, steps=50, restarts=2)
    assert torch.equal(attack(module, pixels, labels), pixels)
    assert len(list(attack.run(module, pixels, labels))) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, "did you mean 8/255"),
        ({"epsilon": 0.1, "steps": 0}, "steps = 0; expected at least 1"),
        ({"epsilon": 0.1, "restarts": 0}, "restarts = 0"),
        ({"epsilon": 0.1, "targets": 0}, "targets = 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        FABT(**settings)
