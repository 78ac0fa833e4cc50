"""Ours fell what other libraries fell from the same starts; and how benchmarks/strength.py counts that."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy import stats

from manifoldscope.attacks import PGD
from manifoldscope.attacks.ball import distance
from real_networks import exact_cifar, mnist, resnet20, robust_cifar, robust_mnist
from strength import Attacked, Paired, compare_apgd, compare_pgd, foolbox_pgd, torchattacks_pgd
from tests.attacks.networks import fitted, images

PER_PIXEL = 1e-6
"""Float32 rounding: implementations add and clip in another order."""
CHI_SQUARE = stats.chi2.ppf(0.95, 1)


@pytest.fixture(scope="module")
def small() -> Attacked:
    drawn = images(120)
    return Attacked.of(fitted(drawn), drawn)


def test_a_start_that_is_read_off_is_random_and_within_the_ball(small):
    starts = small.starts(0.1)
    away = distance(small.pixels, starts, "linf")
    assert float(away.max()) <= 0.1 + PER_PIXEL
    assert float(away.min()) > 0.09  # of 192 pixels drawn evenly, one is near the edge
    assert torch.equal(starts, small.starts(0.1))


@pytest.mark.parametrize("theirs", [torchattacks_pgd, foolbox_pgd])
def test_from_a_random_start_last_iterates_equal_those_of_the_libraries(small, theirs):
    attack = PGD(epsilon=0.1, steps=7)
    ours = small.ours(attack, keep=True).adversarial[0]
    found = theirs(small, attack, small.starts(0.1))
    assert float((ours - found).abs().max()) <= PER_PIXEL
    assert float((ours - small.starts(0.1)).abs().max()) > 0.05


@pytest.mark.parametrize("name", ["cifar", "mnist", "resnet20"])
def test_real_networks_are_felled_as_by_the_libraries(shared_data: Path, shared_weights: Path, name: str) -> None:
    exact = exact_cifar(shared_data)
    network, drawn, epsilon, steps = {
        "cifar": (robust_cifar, exact, 4 / 255, 10),
        "mnist": (robust_mnist, mnist(20, shared_data), 0.3, 10),
        "resnet20": (resnet20, exact.subset(range(60)), 1 / 255, 5),
    }[name]
    attacked = Attacked.of(network(shared_weights), drawn)
    for ours, robust, beside, theirs in compare_pgd(attacked, epsilon, steps):
        paired = Paired.of(robust, theirs)
        assert 0 < int(theirs.sum()) < paired.n  # else nothing is compared
        assert paired.only_theirs <= 1, f"{ours} beside {beside}"  # one image may lie on the boundary
        assert "any" in ours or paired.only_ours <= 1, f"{ours} beside {beside}"


def test_apgd_misclassifies_what_a_port_of_it_does(shared_data: Path, shared_weights: Path) -> None:
    attacked = Attacked.of(robust_cifar(shared_weights), exact_cifar(shared_data))
    (name, robust, _, theirs), _ = compare_apgd(attacked, 8 / 255, 10, 1)
    paired = Paired.of(robust, theirs)
    assert name == "APGD-CE"
    assert 0 < int(theirs.sum()) < paired.n
    assert paired.only_theirs + paired.only_ours <= 4  # from other random starts


def test_outcomes_are_counted_in_pairs():
    ours = torch.tensor([True, True, False, False, False])
    theirs = torch.tensor([True, False, True, True, False])
    assert Paired.of(ours, theirs) == Paired(n=5, only_ours=2, only_theirs=1)


@pytest.mark.parametrize(
    ("only_ours", "only_theirs"), [(0, 0), (3, 0), (4, 0), (0, 4), (9, 2), (9, 1), (20, 33), (20, 35)]
)
def test_the_interval_holds_zero_where_mcnemars_test_does_not_reject(only_ours, only_theirs):
    paired = Paired(n=400, only_ours=only_ours, only_theirs=only_theirs)
    low, high = paired.interval
    rejected = (only_ours - only_theirs) ** 2 > CHI_SQUARE * (only_ours + only_theirs)
    assert (low <= 0 <= high) == (not rejected)
    assert low <= paired.difference <= high
    assert paired.as_strong == (not rejected or only_ours > only_theirs)
    turned = Paired(n=400, only_ours=only_theirs, only_theirs=only_ours).interval
    assert turned == pytest.approx((-high, -low), abs=1e-9)


def test_without_discordant_images_the_interval_is_that_of_a_share_of_none():
    low, high = Paired(n=100, only_ours=0, only_theirs=0).interval
    assert high == pytest.approx(CHI_SQUARE / (100 + CHI_SQUARE), abs=1e-6)  # Wilson's, of 0 of 100
    assert low == pytest.approx(-high, abs=1e-6)


def test_the_interval_covers_a_known_difference():
    shares = torch.tensor([0.08, 0.02, 0.90])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(shares, 2000 * 150, replacement=True, generator=generator).view(2000, 150)
    counts = torch.stack([(drawn == kind).sum(1) for kind in (0, 1)], 1).tolist()
    intervals = {tuple(count): Paired(150, *count).interval for count in counts}
    covered = sum(intervals[tuple(count)][0] <= 0.06 <= intervals[tuple(count)][1] for count in counts)
    assert 0.93 < covered / 2000 < 0.97  # 95%, four standard errors
