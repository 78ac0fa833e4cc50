"""Square: the schedule and the pattern of its authors, as many images misclassified, and no gradient."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from manifoldscope.attacks.ball import distance
from manifoldscope.attacks.square import BLOCK, Square, _odd_sides, _pattern, _sides
from manifoldscope.errors import AttackError
from tests.attacks.networks import Wrapped, fitted, images

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
EPSILONS = {"linf": 0.27, "l2": 3.0}
"""Where some of the images fall and some stand."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def known():
    drawn = images(64)
    network = fitted(drawn)
    return Wrapped(network).eval(), network.pixels(drawn), drawn.labels


def misclassified(module, attacked, labels):
    with torch.no_grad():
        return module(attacked).argmax(1) != labels


# --- beside its authors' code -----------------------------------------------------------------------------------------


def peer(module, norm, **settings):
    """Their code, but that its squares also reach the last row and the last column, as in the paper."""
    theirs = pytest.importorskip("pyautoattack.square", reason="its authors' code: the extra test").SquareAttack

    class Everywhere(theirs):
        def random_int(self, low=0, high=1, shape=(1,)):
            return super().random_int(low, high + 1, shape)

    return Everywhere(module, norm={"linf": "Linf", "l2": "L2"}[norm], device=CPU, **settings)


@every_norm
def test_as_many_images_stand_as_by_its_authors_code(known, norm):
    module, pixels, labels = known
    ours, theirs = [], []
    for seed in range(3):
        attack = Square(epsilon=EPSILONS[norm], norm=norm, queries=301)  # theirs does not count the start
        ours.append(int((~misclassified(module, attack(module, pixels, labels, seed=seed), labels)).sum()))
        other = peer(module, norm, eps=EPSILONS[norm], n_queries=300, resc_schedule=False, seed=seed)
        with torch.random.fork_rng():
            theirs.append(int((~misclassified(module, other.perturb(pixels, labels), labels)).sum()))
    assert 5 < sum(theirs) / 3 < len(labels) - 5  # else nothing is compared
    assert abs(sum(ours) - sum(theirs)) / 3 <= 4  # theirs puts one square into all images, and scatters more


@pytest.mark.parametrize("rescale", [False, True])
def test_squares_shrink_as_by_its_authors_code(rescale):
    queries = 700 if rescale else 10_000
    theirs = peer(None, "linf", n_queries=queries, eps=0.1, resc_schedule=rescale)
    attack = Square(epsilon=0.1, queries=queries, rescale_schedule=rescale)
    sizes = attack._size(torch.arange(queries))
    for height, width in ((28, 28), (9, 14)):
        ours = _sides(height, width, 1, CPU)[sizes].tolist()
        shares = [theirs.p_selection(query) for query in range(queries)]
        assert ours == [min(max(round((share * height * width) ** 0.5), 1), height, width) for share in shares]
    assert _odd_sides(32, CPU).tolist() == [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]  # the odd number above an even one


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7, 31])
def test_the_pattern_is_that_of_its_authors_code(side):
    theirs = peer(None, "l2").eta(side)
    pattern = _pattern(side)
    assert any(torch.allclose(theirs, each, atol=1e-6) for each in (pattern, pattern.T))
    assert float(pattern.norm()) == pytest.approx(1, rel=1e-5)


# --- what it shows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 2.0)])
@pytest.mark.parametrize("side", [5, 8, 28])
def test_each_image_lies_in_the_ball_and_changes_one_square_of_the_best(norm, epsilon, side):
    pixels = torch.rand(3, 2, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(3, dtype=torch.int64)
    attack = Square(epsilon=epsilon, norm=norm, queries=BLOCK + 9)
    best, highest = None, None
    shown = list(attack.run(Rough(), pixels, labels))
    assert len(shown) == attack.queries
    for number, iterate in enumerate(shown):
        assert float(iterate.images.min()) >= 0
        assert float(iterate.images.max()) <= 1
        assert float(distance(pixels, iterate.images, norm).max()) <= epsilon + 1e-6
        if number and norm == "linf":
            changed = (iterate.images != best).any(1)
            rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
            limit = int(_sides(side, side, 1, CPU)[attack._size(torch.tensor(number - 1))])
            assert int(torch.maximum(rows, columns).max()) <= limit
        loss = Rough()(iterate.images)[:, 1] if iterate.loss is None else iterate.loss
        better = torch.ones(3, dtype=torch.bool) if highest is None else loss > highest
        best = iterate.images if best is None else torch.where(better[:, None, None, None], iterate.images, best)
        highest = loss if highest is None else torch.where(better, loss, highest)
    assert float(distance(shown[0].images, shown[-1].images, "linf").min()) > 0


class Rough(nn.Module):
    """Two classes, the second of which rises with a mixture of pixels that no step function is best for."""

    def forward(self, pixels):
        flat = pixels.flatten(1)
        mixture = (flat * torch.linspace(0, 40, flat.shape[1]).sin()).mean(1)
        return torch.stack([torch.zeros_like(mixture), mixture - 5], 1)


@pytest.mark.parametrize("side", [5, 9, 28, 32])
def test_the_start_in_the_l2_ball_is_as_long_as_the_ball_is_wide(side):
    pixels = torch.full((4, 3, side, side), 0.5)
    first = next(Square(epsilon=0.3, norm="l2").run(Rough(), pixels, torch.zeros(4, dtype=torch.int64))).images
    torch.testing.assert_close(distance(pixels, first, "l2"), torch.full((4,), 0.3).double(), rtol=1e-5, atol=0)
    tile = side // 5
    covered = (first != pixels).any(1)
    assert (covered.sum((1, 2)) == (5 * tile) ** 2).all()
    assert not torch.equal(first[0], first[1])


# --- what every attack keeps to ---------------------------------------------------------------------------------------


@every_norm
def test_an_image_does_not_depend_on_its_company(known, norm):
    module, pixels, labels = known
    attack = Square(epsilon=EPSILONS[norm], norm=norm, queries=BLOCK + 5, restarts=2)
    together = attack(module, pixels, labels)
    few = attack(module, pixels, labels, batch_size=7)
    felled = misclassified(module, together, labels)
    assert 0 < int(felled.sum()) < len(labels)
    assert int((felled != misclassified(module, few, labels)).sum()) <= 1  # rounding in passes of other sizes
    first = attack(module, pixels[:1], labels[:1])
    assert float((first - together[:1]).abs().max()) < 1e-4


@every_norm
def test_numbers_come_from_each_images_own_stream(norm):
    """Backwards, with their streams, images are shown as before."""
    pixels = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(5, dtype=torch.int64)
    attack = Square(epsilon=0.2, norm=norm, queries=BLOCK + 9)

    def last(order):
        streams = [torch.Generator().manual_seed(row) for row in order]
        return list(attack.run(Rough(), pixels[order], labels[order], streams=streams))[-1].images

    forwards = last([0, 1, 2, 3, 4])
    torch.testing.assert_close(last([4, 3, 2, 1, 0]).flip(0), forwards, rtol=0, atol=1e-6)
    torch.testing.assert_close(last([2]), forwards[2:3], rtol=0, atol=1e-6)


@every_norm
def test_the_same_seed_gives_the_same_images_and_leaves_the_global_numbers_alone(known, norm):
    module, pixels, labels = known
    attack = Square(epsilon=EPSILONS[norm], norm=norm, queries=30)
    before = torch.get_rng_state()
    first, second, other = (attack(module, pixels[:6], labels[:6], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


class Watched(nn.Module):
    """Notes what it is asked; its pixels are in steps, so that its gradient is zero everywhere."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.asked, self.gradients = inner, 0, 0

    def forward(self, pixels):
        self.asked += 1
        self.gradients += torch.is_grad_enabled() or pixels.requires_grad
        return self.inner((pixels * 64).round() / 64)


def test_it_misclassifies_what_hides_its_gradients_and_asks_for_none(known):
    module, pixels, labels = known
    watched = Watched(module)
    attack = Square(epsilon=0.35, queries=300, rescale_schedule=True)
    assert float(misclassified(watched, attack(watched, pixels, labels), labels).float().mean()) > 0.9
    assert watched.asked > 10
    assert watched.gradients == 0
    assert attack.passes == (300, 0)


@every_norm
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_network_that_tells_nothing_apart_ends_the_search_at_its_last_query(norm, value):
    class Constant(nn.Module):
        def forward(self, pixels):
            return torch.tensor([[0.0, value]]).expand(len(pixels), 2)

    pixels = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    attack = Square(epsilon=0.1, norm=norm, queries=20)
    *_, last = attack.run(Constant(), pixels, torch.tensor([1, 1, 0]))
    attacked = last.images
    assert bool(torch.isfinite(attacked).all())
    assert float(distance(pixels, attacked, norm).max()) <= 0.1 + 1e-6


@every_norm
def test_in_a_ball_of_no_size_only_the_image_is_shown(known, norm):
    module, pixels, labels = known
    attack = Square(epsilon=0, norm=norm, queries=50)
    assert torch.equal(attack(module, pixels, labels), pixels)
    assert len(list(attack.run(module, pixels, labels))) == 1


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 9)])
def test_images_that_tiles_do_not_fit_are_refused_in_the_l2_norm_alone(height, width):
    pixels, labels = torch.rand(1, 1, height, width), torch.tensor([0])
    with pytest.raises(AttackError, match=f"the images are {height} x {width}; expected as many rows as columns"):
        Square(epsilon=1, norm="l2", queries=3)(Rough(), pixels, labels)
    assert Square(epsilon=0.1, queries=3)(Rough(), pixels, labels).shape == pixels.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, "did you mean 8/255"),
        ({"epsilon": 0.1, "queries": 0}, "queries = 0; expected at least 1"),
        ({"epsilon": 0.1, "restarts": 0}, "restarts = 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        Square(**settings)
