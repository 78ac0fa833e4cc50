"""Penalties: known answers, invariances, gradients, and what degenerate batches give."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError, StudyError
from manifoldscope.geometry.capacity import ball_capacity as capacity_of_ball
from manifoldscope.training import penalties
from manifoldscope.training.penalties import (
    ball_capacity,
    centre,
    coding_rate,
    inverse_ball_capacity,
    low_rank,
    mmcr,
    nuclear_norm,
    orthogonal_projection,
    participation_ratio,
    power_law,
)
from manifoldscope.training.penalties.eigenvalues import SMOOTHED

PENALTIES = {
    "participation_ratio": participation_ratio,
    "nuclear_norm": nuclear_norm,
    "low_rank": partial(low_rank, rank=2),
    "coding_rate": coding_rate,
    "mmcr": mmcr,
    "power_law": partial(power_law, first=3),
    "orthogonal_projection": orthogonal_projection,
    "centre": centre,
    "ball_capacity": ball_capacity,
}
every = pytest.mark.parametrize("name", PENALTIES)
fast = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 10**6)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotation(n, seed=0):
    return torch.linalg.qr(random(n, n, seed=seed))[0]


def with_spectrum(singular_values, n_features, *, seed=0):
    """A class whose centred points have these singular values, in random axes, far from the origin."""
    k = len(singular_values)
    n = k + 5
    left = torch.linalg.qr(torch.cat([torch.ones(n, 1).double(), random(n, k, seed=seed)], 1))[0][:, 1:]
    return left * torch.tensor(singular_values).double() @ rotation(n_features, seed + 1)[:k] + 3


def batch(seed=0, n_classes=3, per_class=7, n_features=6):
    labels = torch.arange(n_classes).repeat(per_class)
    return random(len(labels), n_features, seed=seed) + 2 * random(n_classes, n_features, seed=seed + 1)[labels], labels


def test_the_table_holds_every_penalty():
    assert set(PENALTIES) == set(penalties.__all__) - {"inverse_ball_capacity"}


@pytest.mark.parametrize("module", [each.name for each in pkgutil.iter_modules(penalties.__path__)])
def test_the_examples_of_the_docstrings_hold(module):
    loaded = importlib.import_module(f"manifoldscope.training.penalties.{module}")
    assert doctest.testmod(loaded, extraglobs={"torch": torch}).failed == 0


# -- known answers ----------------------------------------------------------------------------------------------------


@fast
@given(k=st.integers(1, 12), scale=st.floats(0.1, 100), seed=seeds)
def test_equal_variances_in_k_directions_are_k_dimensions(k, scale, seed):
    classes = [with_spectrum([scale] * k, 20, seed=seed), with_spectrum([2 * scale] * k, 20, seed=seed + 5)]
    features, labels = torch.cat(classes), torch.repeat_interleave(torch.arange(2), k + 5)
    assert float(participation_ratio(features, labels)) == pytest.approx(k, rel=1e-4)
    assert float(nuclear_norm(features, labels)) == pytest.approx(k, rel=1e-3)  # smoothed at a thousandth


@fast
@given(values=st.lists(st.floats(0.2, 1), min_size=1, max_size=10), seed=seeds)
def test_participation_ratio_and_nuclear_norm_are_those_of_the_singular_values(values, seed):
    features, s = with_spectrum(values, 15, seed=seed), torch.tensor(values).double()
    labels = torch.zeros(len(features))
    expected = s.square().sum() ** 2 / s.pow(4).sum()
    assert float(participation_ratio(features, labels)) == pytest.approx(float(expected), rel=1e-4)
    assert float(nuclear_norm(features, labels)) == pytest.approx(float(s.sum() ** 2 / s.square().sum()), rel=1e-3)


def test_the_penalty_is_the_mean_over_classes_and_skips_single_points():
    one, three = with_spectrum([1.0], 8), with_spectrum([1.0] * 3, 8, seed=9)
    features = torch.cat([one, three, random(1, 8)])
    labels = torch.tensor([4] * len(one) + [7] * len(three) + [9])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    assert float(participation_ratio(features[order], labels[order])) == pytest.approx(2.0, rel=1e-4)


@fast
@given(values=st.lists(st.floats(0.1, 1), min_size=1, max_size=8), rank=st.integers(1, 9), seed=seeds)
def test_low_rank_is_the_share_of_variance_outside_the_first_components(values, rank, seed):
    features = with_spectrum(values, 12, seed=seed)
    squares = sorted((value**2 for value in values), reverse=True)
    found = float(low_rank(features, torch.zeros(len(features)), rank=rank))
    # what counts as 0 is 1e-10 of the mean square, which these means, far from 0, make up to 5e-6 of the variance
    assert found == pytest.approx(sum(squares[rank:]) / sum(squares), abs=5e-6)


@fast
@given(
    dims=st.lists(st.integers(1, 4), min_size=1, max_size=4), repeats=st.integers(1, 3), e=st.floats(0.1, 2), seed=seeds
)
def test_coding_rate_of_orthogonal_subspaces_has_a_closed_form(dims, repeats, e, seed):
    """Class j has points along both ways of d_j axes: Z_j^T Z_j = n_j / d_j on its subspace."""
    axes, d = rotation(20, seed), 20
    chosen = torch.split(axes[: sum(dims)], dims)
    features = torch.cat([5 * torch.cat([own, -own]).repeat(repeats, 1) for own in chosen])
    counts = [2 * repeats * k for k in dims]
    labels = torch.repeat_interleave(torch.arange(len(dims)), torch.tensor(counts))
    n = sum(counts)
    whole = sum(k / 2 * math.log1p(d * m / (n * e * k)) for k, m in zip(dims, counts, strict=True))
    within = sum(m / n * k / 2 * math.log1p(d / (e * k)) for k, m in zip(dims, counts, strict=True))
    found = float(coding_rate(features, labels, squared_distortion=e))
    assert found == pytest.approx(within - whole, abs=1e-6)
    if len(dims) == 1:
        assert found == pytest.approx(0, abs=1e-9)


@fast
@given(p=st.integers(1, 10), repeats=st.integers(1, 4), seed=seeds)
def test_mmcr_of_collapsed_classes(p, repeats, seed):
    labels = torch.arange(p).repeat_interleave(repeats)
    lengths = 0.5 + torch.rand(len(labels), 1, generator=torch.Generator().manual_seed(seed))
    apart = lengths * rotation(12, seed)[labels]
    together = lengths * rotation(12, seed)[0]
    assert float(mmcr(apart, labels)) == pytest.approx(-p, rel=1e-5)
    assert float(mmcr(together, labels)) == pytest.approx(-math.sqrt(p), rel=1e-5)


def test_mmcr_is_nearer_to_0_where_a_class_has_several_directions():
    axes = torch.eye(6).double()
    assert float(mmcr(axes[:4], torch.tensor([0, 0, 1, 1]))) == pytest.approx(-2 * math.sqrt(0.5), rel=1e-5)


@fast
@given(exponent=st.floats(0.3, 2), asked=st.floats(0.3, 2), first=st.integers(1, 8), n=st.integers(10, 30), seed=seeds)
def test_power_law_is_0_on_the_law_and_the_written_sum_off_it(exponent, asked, first, n, seed):
    ranks = torch.arange(1, n + 1).double()
    axes = ranks[:, None] ** (-exponent / 2) * rotation(n, seed)
    features, labels = torch.cat([axes, -axes]), torch.zeros(2 * n)
    assert float(power_law(features, labels, exponent=exponent, first=first)) == pytest.approx(0, abs=1e-4)
    shares = ranks**-exponent / (ranks**-exponent).sum()
    law = shares[first - 1] * (ranks / first) ** -asked
    excess = ((shares - law) / (law + SMOOTHED))[first - 1 :]  # the law is steep enough to come near what is smoothed
    expected = (excess.square() + excess.clamp(min=0)).mean()
    found = float(power_law(features, labels, exponent=asked, first=first))
    assert found == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


def test_a_batch_that_is_too_small_for_the_law_costs_nothing():
    features = random(5, 20).requires_grad_()
    value = power_law(features, torch.zeros(5), first=4)
    value.backward()
    assert value.item() == 0
    assert not features.grad.any()


def test_orthogonal_projection_is_0_only_for_one_direction_per_class_at_right_angles():
    axes, labels = torch.eye(4).double(), torch.tensor([0, 0, 1, 1, 2])
    assert float(orthogonal_projection(axes[labels] * torch.rand(5, 1).add(1), labels)) == pytest.approx(0, abs=1e-6)
    opposite = axes[labels] * torch.tensor([1, 1, 1, -1, 1])[:, None]
    assert float(orthogonal_projection(opposite, labels)) == pytest.approx(1.0, abs=1e-6)  # cosines 1 and -1
    cancelling = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])  # between classes: both at 45 degrees, and at 90
    found = float(orthogonal_projection(cancelling, torch.arange(3), between=2.0))
    assert found == pytest.approx(2 * 2 * math.sqrt(0.5) / 3, rel=1e-5)


@fast
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_centre_is_half_the_mean_squared_distance(seed, scale):
    features, labels = batch(seed)
    parts = [features[labels == c] for c in range(3)]
    expected = sum(((part - part.mean(0)) ** 2).sum() for part in parts) / (2 * len(labels))
    assert float(centre(scale * features, labels)) == pytest.approx(scale**2 * float(expected))


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 30, 200])
@pytest.mark.parametrize("radius", [0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 1000.0])
def test_the_capacity_of_a_ball_is_that_of_the_theory(radius, dimension):
    expected = 1 / capacity_of_ball(radius, dimension)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-5)):
        found = inverse_ball_capacity(torch.tensor([radius], dtype=dtype), torch.tensor([dimension], dtype=dtype))
        assert float(found) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("dimension", [1.0, 2.5, 10.0, 33.3])
def test_the_capacity_of_a_ball_of_radius_1_is_2_over_d_plus_1(dimension):
    found = inverse_ball_capacity(torch.ones(1).double(), torch.tensor([dimension]).double())
    assert float(found) == pytest.approx((dimension + 1) / 2, rel=1e-6)


def test_the_gradient_of_the_capacity_is_that_of_its_value():
    radius, dimension = torch.tensor([0.3, 1.0, 3.0, 0.8]).double(), torch.tensor([2.0, 6.5, 20.0, 1.3]).double()
    inputs = (radius.requires_grad_(), dimension.requires_grad_())
    # the nodes move with the dimension and are not differentiated: what that misses is below the error of the rule
    assert torch.autograd.gradcheck(inverse_ball_capacity, inputs, eps=1e-4, atol=1e-5, rtol=1e-5)


@fast
@given(radius=st.floats(0.2, 3), k=st.integers(1, 6))
def test_ball_capacity_takes_radius_and_dimension_from_the_points(radius, k):
    """Two classes at opposite places, each with points on both ways of k axes: a sphere of k dimensions."""
    axes = torch.eye(k + 1).double()[1:] * radius
    own = torch.cat([axes, -axes])
    features = torch.cat([own + torch.eye(k + 1)[0], own - torch.eye(k + 1)[0]])
    labels = torch.arange(2).repeat_interleave(2 * k)
    assert float(ball_capacity(features, labels)) == pytest.approx(1 / capacity_of_ball(radius, k), rel=1e-3)


# -- what all of them obey ---------------------------------------------------------------------------------------------


@every
@fast
@given(seed=seeds)
def test_no_penalty_changes_with_rotation_order_or_names_of_classes(name, seed):
    features, labels = batch(seed)
    value = float(PENALTIES[name](features, labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turned = features[order] @ rotation(6, seed)
    renamed = torch.tensor([40, 3, 8])[labels[order]]
    assert float(PENALTIES[name](turned, renamed)) == pytest.approx(value, rel=1e-6, abs=1e-9)


@every
@fast
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_all_but_the_centre_loss_are_free_of_scale(name, seed, scale):
    features, labels = batch(seed)
    value, scaled = float(PENALTIES[name](features, labels)), float(PENALTIES[name](scale * features, labels))
    assert scaled == pytest.approx(value * scale**2 if name == "centre" else value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", sorted(set(PENALTIES) - {"centre"}))
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_very_small_and_very_large_features_are_as_good(name, scale):
    features, labels = batch()
    found = []
    for some in (features, (scale * features).float()):
        value = PENALTIES[name](some.requires_grad_(), labels)
        value.backward()
        found.append((value.item(), some.grad.double()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert torch.allclose(scale * found[1][1], found[0][1], rtol=1e-3, atol=1e-5)


@every
def test_shifts_matter_only_where_directions_from_the_origin_do(name):
    features, labels = batch()
    value, shifted = float(PENALTIES[name](features, labels)), float(PENALTIES[name](features + 1.5, labels))
    seen_from_origin = name in {"coding_rate", "mmcr", "orthogonal_projection"}
    assert (abs(shifted - value) < 1e-5) != seen_from_origin


@every
def test_gradients_are_those_of_the_values(name):
    features, labels = batch(per_class=4, n_features=5)
    assert torch.autograd.gradcheck(lambda x: PENALTIES[name](x, labels), features.requires_grad_(), atol=1e-5)


@every
@pytest.mark.parametrize("way", [1, -1])
def test_a_few_steps_on_free_features_move_the_value(name, way):
    features, labels = batch(per_class=8, n_features=10)
    features = features.float().requires_grad_()
    optimiser = torch.optim.Adam([features], lr=0.05)
    values = []
    for _ in range(30):
        value = PENALTIES[name](features, labels)
        optimiser.zero_grad()
        (way * value).backward()
        optimiser.step()
        values.append(value.item())
    assert all(map(math.isfinite, values))
    assert way * (values[-1] - values[0]) < -0.05 * abs(values[0])


DEGENERATE = {
    "one image": (torch.ones(1, 4), [0]),
    "one image per class": (random(5, 4).float(), [0, 1, 2, 3, 4]),
    "a class of one image": (random(5, 4).float(), [0, 0, 0, 0, 1]),
    "one class": (random(5, 4).float(), [2] * 5),
    "equal features": (torch.full((6, 4), 0.1), [0, 0, 0, 1, 1, 1]),
    "zeros": (torch.zeros(6, 4), [0, 0, 0, 1, 1, 1]),
    "classes that are points": (torch.eye(4)[[0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2]),
    "the same centroid": (torch.cat([torch.eye(4), -torch.eye(4)]), [0, 1, 1, 0, 0, 1, 1, 0]),
    "pairs of equal points": (random(6, 4).float().repeat(2, 1), [0, 0, 0, 1, 1, 1] * 2),
    "one feature": (random(8, 1).float(), [0, 1] * 4),
    "tiny": (1e-20 * random(8, 4).float(), [0, 1] * 4),
    "huge": (1e8 * random(8, 4).float(), [0, 1] * 4),
    "half precision": (random(8, 4).half(), [0, 1] * 4),
}


@every
@pytest.mark.parametrize("case", DEGENERATE)
def test_values_and_gradients_are_finite_for_degenerate_batches(name, case):
    points, labels = DEGENERATE[case]
    features = points.clone().requires_grad_()
    value = PENALTIES[name](features, torch.tensor(labels))
    value.backward()
    assert value.shape == ()
    assert bool(value.isfinite())
    assert bool(features.grad.isfinite().all())


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("e", [1e-6, 1e-12])
def test_coding_rate_is_finite_where_the_identity_is_lost_in_rounding(case, e):
    points, labels = DEGENERATE[case]
    features = points.clone().requires_grad_()
    value = coding_rate(features, torch.tensor(labels), squared_distortion=e)
    value.backward()
    assert bool(value.isfinite())
    assert bool(features.grad.isfinite().all())


@every
def test_features_that_are_not_finite_give_nan_and_no_exception(name):
    features, labels = batch()
    features[3, 1] = math.nan
    assert not PENALTIES[name](features, labels).isfinite()


@every
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.zeros(3, 2, 2), torch.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(4)),
        (torch.zeros(3, 2).long(), torch.zeros(3)),
        (torch.zeros(0, 2), torch.zeros(0)),
        (torch.zeros(3, 0), torch.zeros(3)),
    ],
)
def test_what_is_no_batch_of_features_is_refused(name, features, labels):
    with pytest.raises(GeometryError, match=r"expected \(n, n_features\)"):
        PENALTIES[name](features, labels)


@every
def test_what_is_no_dense_tensor_is_refused(name):
    features, labels = batch()
    for wrong in (None, features.tolist(), features.numpy(), features.to_sparse(), features.to("meta")):
        with pytest.raises(GeometryError, match=r"features are .*expected a dense torch\.Tensor"):
            PENALTIES[name](wrong, labels)
    with pytest.raises(GeometryError, match="labels are list"):
        PENALTIES[name](features, labels.tolist())


@pytest.mark.parametrize("radius", [torch.zeros(2), torch.ones(2, 1), torch.ones(2).long(), 1.0])
def test_the_capacity_of_what_is_no_ball_is_refused(radius):
    with pytest.raises(GeometryError, match="and positive radii"):
        inverse_ball_capacity(radius, torch.ones(2))


@pytest.mark.parametrize(
    ("penalty", "settings", "message"),
    [
        (low_rank, {"rank": 0}, "rank = 0"),
        (low_rank, {"rank": None}, "rank = None; expected a whole number"),
        (coding_rate, {"squared_distortion": "0.5"}, "squared_distortion = '0.5'; expected a number"),
        (power_law, {"exponent": None}, "exponent = None; expected a number"),
        (orthogonal_projection, {"between": True}, "between = True; expected a number"),
        (low_rank, {"rank": 1.5}, r"rank = 1\.5; expected a whole number"),
        (coding_rate, {"squared_distortion": 0.0}, "squared_distortion = 0"),
        (power_law, {"exponent": -1.0}, "exponent = -1"),
        (power_law, {"first": 0}, "first = 0"),
        (power_law, {"first": 2.0}, r"first = 2\.0; expected a whole number"),
        (orthogonal_projection, {"between": -0.5}, "between = -0.5"),
    ],
)
def test_impossible_settings_are_refused(penalty, settings, message):
    with pytest.raises(StudyError, match=message):
        penalty(*batch(), **settings)
