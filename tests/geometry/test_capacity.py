"""Mean-field capacity: closed forms, the published run, the optimality of every problem, and named outcomes."""

from __future__ import annotations

import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.optimize import nnls

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Clouds, ball_capacity, mean_field_geometry, measure
from manifoldscope.geometry.capacity import support
from manifoldscope.geometry.reference import rotation, sphere

module = importlib.import_module("manifoldscope.geometry.capacity")  # the package has the function by this name


OF_FOUR = math.sqrt(3 / 4)
"""The norm that the unit centroids of four manifolds, far apart, have as seen from the mean of all."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def in_own_coordinates(shape: torch.Tensor) -> torch.Tensor:
    """(1, n_points, 1 + d): a manifold of this shape around a centroid of norm 1, as the theory sees it."""
    return torch.cat([torch.ones(len(shape), 1, dtype=torch.float64), shape.double()], 1)[None]


def inverse(shape: torch.Tensor, *, directions: int, margin: float = 0.0, seed: int = 0) -> tuple[float, float]:
    """1 / capacity of one shape, and its standard error over the directions."""
    points = in_own_coordinates(shape)
    drawn = torch.randn(1, points.shape[2], directions, dtype=torch.float64, generator=seeded(seed))
    squares = (points.mT @ support(points, drawn, margin)).square().sum(1)[0]
    return float(squares.mean()), float(squares.std()) / directions**0.5


def distance_to_ball(radius: float, t: torch.Tensor) -> torch.Tensor:
    """(n_directions,): squared distance of each t to the cone v_0 >= R |v|, which v . s >= 0 is for a ball."""
    first, length = t[0], t[1:].norm(dim=0)
    # t and its nearest point lie in one plane with the axis; there the edge of the cone is the ray (R, 1)
    along = ((radius * first + length) / (1 + radius**2) ** 0.5).clamp(min=0)
    return torch.where(first < radius * length, first**2 + length**2 - along**2, 0.0)


def far_apart(shapes: list[torch.Tensor], n_features: int = 600, seed: int = 0) -> list[torch.Tensor]:
    """Each shape in a subspace of its own, around a centroid of norm 1 that is orthogonal to all else."""
    axes = rotation(n_features, generator=seeded(seed))
    placed, used = [], 0
    for shape in shapes:
        own = axes[used : used + shape.shape[1] + 1]
        placed.append(own[0] + shape.double() @ own[1:])
        used += shape.shape[1] + 1
    return placed


def random_classes(seed: int, *, sizes: tuple[int, ...] = (12, 7, 12, 9), n_features: int = 40) -> list[torch.Tensor]:
    generator = seeded(seed)
    return [
        torch.randn(n_features, generator=generator) + torch.randn(size, n_features, generator=generator)
        for size in sizes
    ]


# Known answers


def test_the_published_run_is_reproduced() -> None:
    """100 classes of 50 standard normal points in 5,000 dimensions: .04, 1.47, 36.17 and .01 as published."""
    generator = seeded(0)
    found = mean_field_geometry([torch.randn(50, 5000, generator=generator) for _ in range(100)])
    assert found.capacity == pytest.approx(0.04, abs=0.0005)  # 30,000 directions: 0.2%
    assert found.radius == pytest.approx(1.47, abs=0.01)  # two digits were published
    assert found.dimension == pytest.approx(36.17, abs=0.25)  # draws of the data and the directions: 0.1 each
    assert found.centroid_cosine == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("dimension", [1, 2, 10, 50])
@pytest.mark.parametrize("radius", [0.1, 0.5, 2.0])
def test_the_capacity_of_a_ball_is_the_mean_distance_to_its_cone(radius: float, dimension: int) -> None:
    squares = distance_to_ball(radius, torch.randn(1 + dimension, 20_000, dtype=torch.float64, generator=seeded(1)))
    error = float(squares.std()) / len(squares) ** 0.5
    assert 1 / ball_capacity(radius, dimension) == pytest.approx(float(squares.mean()), abs=4 * error)


@pytest.mark.parametrize("dimension", [1, 3, 20])
def test_balls_of_radius_zero_and_one_are_exact(dimension: int) -> None:
    assert ball_capacity(0.0, dimension) == 2
    assert ball_capacity(1e-9, dimension) == pytest.approx(2, rel=1e-6)
    assert ball_capacity(1.0, dimension) == pytest.approx(2 / (dimension + 1), rel=1e-9)


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0])
def test_points_that_fill_a_ball_are_as_far_as_the_ball(radius: float) -> None:
    """Two points are a ball of one dimension, a polygon of many corners is one of two; 400 points nearly of three."""
    around = torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64)[:-1]
    balls = {
        1: torch.tensor([[1.0], [-1.0]]),
        2: torch.stack([around.cos(), around.sin()], 1),
        3: sphere(400, 2, generator=seeded(2)),
    }
    for dimension, shape in balls.items():
        points = in_own_coordinates(radius * shape)
        t = torch.randn(1, 1 + dimension, 200, dtype=torch.float64, generator=seeded(3))
        found = (points.mT @ support(points, t)).square().sum(1)[0]
        expected = distance_to_ball(radius, t[0])
        # 200 corners leave a gap of 1 - cos(pi / 200), a ten-thousandth; between 400 random points it is 1% on average
        assert float(found.mean() / expected.mean()) == pytest.approx(1, abs={1: 1e-6, 2: 5e-4, 3: 0.03}[dimension])


def test_fifty_points_of_a_ball_of_ten_dimensions_have_twice_its_capacity() -> None:
    found = [1 / inverse(sphere(50, 9, generator=seeded(seed)), directions=300)[0] for seed in range(4)]
    assert ball_capacity(1.0, 10) == pytest.approx(0.18, abs=0.005)
    assert sum(found) / 4 == pytest.approx(0.33, abs=0.03)  # the shapes spread by 0.01, the directions by 0.01


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
def test_points_have_the_capacity_of_a_perceptron(margin: float) -> None:
    """Gardner 1988: 1 / capacity is the integral of (t + margin)^2 from -margin on; 1/2 without a margin."""
    expected, _ = integrate.quad(lambda t: (t + margin) ** 2 * stats.norm.pdf(t), -margin, 12)
    if not margin:
        assert expected == pytest.approx(0.5)
    points = [point.expand(3, -1) for point in torch.randn(60, 1, 100, generator=seeded(3))]
    found = mean_field_geometry(points, margin=margin, common=False)
    # 18,000 directions, whose squares spread by two times their mean
    assert 1 / found.capacity == pytest.approx(expected, rel=4 * 2.3 / 18_000**0.5)
    assert not found.radii.any()
    assert not found.dimensions.any()
    assert all("all points are the same" in note for note in found.notes)


def test_a_small_ball_has_its_own_radius_and_dimension() -> None:
    """Far from the readout's plane, the anchor point is the point of the ball that lies farthest against t."""
    around = torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64)[:-1]
    circle = 0.02 * torch.stack([around.cos(), around.sin()], 1)
    found = mean_field_geometry(far_apart([circle] * 4), common=False)
    # inside the cone, which few directions are for so small a ball, the anchor lies within
    assert found.radius == pytest.approx(0.02 / OF_FOUR, rel=0.02)
    assert found.dimension == pytest.approx(2, rel=0.02)


# The problems behind it


@given(
    seed=st.integers(0, 10_000),
    n_points=st.integers(1, 30),
    n_features=st.integers(1, 12),
    size=st.sampled_from([0.01, 1.0, 30.0]),
    margin=st.sampled_from([0.0, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_every_solution_satisfies_the_optimality_conditions(
    seed: int, n_points: int, n_features: int, size: float, margin: float
) -> None:
    generator = seeded(seed)
    shape = size * torch.randn(n_points, n_features, dtype=torch.float64, generator=generator)
    points = in_own_coordinates(torch.cat([shape, shape[:1]]))  # one point twice
    t = torch.randn(1, 1 + n_features, 7, dtype=torch.float64, generator=generator)
    z = support(points, t, margin)
    moved = points.mT @ z
    wanted = margin - points @ t
    room = points @ moved - wanted
    # the solver stops at 1e-7 of the largest number of each problem
    slack = 2e-7 * wanted.abs().amax(1, keepdim=True)
    assert float(z.min()) >= 0
    assert bool((room >= -slack).all())
    assert bool((torch.minimum(z * points.square().sum(2, keepdim=True), room) <= slack).all())
    # no duality gap: |v - t|^2 is what the multipliers promise
    assert torch.allclose(moved.square().sum(1), (z * wanted).sum(1), rtol=1e-4, atol=1e-5)
    free = (points @ t >= margin).all(1)[0]
    assert not moved[0, :, free].any()


@pytest.mark.parametrize("size", [0.05, 0.5, 2.0])
def test_agrees_with_one_problem_at_a_time(size: float) -> None:
    shape = size * torch.randn(25, 20, dtype=torch.float64, generator=seeded(4))
    points = in_own_coordinates(shape)
    t = torch.randn(1, 21, 60, dtype=torch.float64, generator=seeded(5))
    together = (points.mT @ support(points, t)).square().sum(1)[0]
    apart = torch.tensor([nnls(points[0].mT.numpy(), -t[0, :, k].numpy())[1] for k in range(60)], dtype=torch.float64)
    expected = t[0].square().sum(0) - apart**2  # |S z|^2 = |t|^2 - |t + S z|^2 at the optimum
    assert float(together.mean()) == pytest.approx(float(expected.mean()), rel=1e-6)
    assert torch.allclose(together, expected, rtol=1e-5, atol=1e-6)


def test_what_the_batch_leaves_unsolved_is_solved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_classes(6)
    expected = mean_field_geometry(points, directions=40)
    monkeypatch.setattr(module, "_STEPS", 1)
    found = mean_field_geometry(points, directions=40)
    assert torch.allclose(found.capacities, expected.capacities, rtol=1e-6)
    assert torch.allclose(found.radii, expected.radii, rtol=1e-5)  # multipliers are less certain than their sum


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_classes(7)
    expected = mean_field_geometry(points, directions=40)
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    found = mean_field_geometry(points, directions=40)
    for name in ("capacities", "radii", "dimensions", "capacity_errors"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)


# What is said of all classes


def test_capacities_average_harmonically_and_the_rest_arithmetically() -> None:
    found = mean_field_geometry(random_classes(8))
    assert found.capacity == pytest.approx(stats.hmean(found.capacities.numpy()))
    assert found.radius == pytest.approx(float(found.radii.mean()))
    assert found.dimension == pytest.approx(float(found.dimensions.mean()))


def test_standard_errors_are_those_of_other_directions() -> None:
    points = random_classes(9, sizes=(12,) * 6)
    draws = [mean_field_geometry(points, directions=60, seed=seed) for seed in range(30)]
    for values, errors in {
        "capacities": "capacity_errors",
        "radii": "radius_errors",
        "dimensions": "dimension_errors",
    }.items():
        spread = torch.stack([getattr(draw, values) for draw in draws]).std(0).mean()
        claimed = torch.stack([getattr(draw, errors) for draw in draws]).mean()
        assert float(claimed / spread) == pytest.approx(1, abs=0.25)  # 30 draws of six classes: 5% of the spread


@pytest.mark.parametrize("n_common", [1, 3])
def test_what_centres_have_in_common_is_found_and_removed(n_common: int) -> None:
    generator = seeded(10)
    own = torch.randn(30, 300, generator=generator)
    noise = torch.randn(30, 10, 300, generator=generator)
    shared = 3 * torch.randn(30, n_common, generator=generator) @ torch.randn(n_common, 300, generator=generator)
    plain = mean_field_geometry(list(own[:, None] + noise))
    mixed = mean_field_geometry(list((own + shared)[:, None] + noise))
    assert (plain.n_common, mixed.n_common) == (0, n_common)
    assert plain.centroid_cosine < 0.1 < 0.4 < mixed.centroid_cosine
    # what is removed takes n_common of 30 dimensions of the own centroids with it, and so 2% of capacity for each
    assert mixed.capacity == pytest.approx(plain.capacity, rel=0.1)
    assert mixed.radius == pytest.approx(plain.radius, rel=0.06)
    assert mean_field_geometry(list((own + shared)[:, None] + noise), common=False).capacity > 1.5 * plain.capacity


@given(seed=st.integers(0, 1000), size=st.floats(0.2, 2.0))
@settings(max_examples=10, deadline=None)
def test_a_larger_manifold_or_a_margin_leaves_less_capacity(seed: int, size: float) -> None:
    shapes = [size * torch.randn(8, 6, dtype=torch.float64, generator=seeded(seed + place)) for place in range(3)]
    shapes = [shape - shape.mean(0) for shape in shapes]  # so that a larger one holds the smaller
    found = mean_field_geometry(far_apart(shapes, n_features=30), common=False, directions=30)
    larger = mean_field_geometry(
        far_apart([1.2 * shape for shape in shapes], n_features=30), common=False, directions=30
    )
    wider = mean_field_geometry(far_apart(shapes, n_features=30), common=False, directions=30, margin=0.5)
    # the directions are the same, and for none of them is the problem easier
    assert bool((larger.capacities <= found.capacities * (1 + 1e-6)).all())
    assert bool((wider.capacities < found.capacities).all())


def test_the_measures_are_read_off_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = module._anchors
    monkeypatch.setattr(module, "_anchors", lambda *given: calls.append(1) or original(*given))
    clouds = Clouds(random_classes(11, sizes=(9, 9, 9)))
    expected = mean_field_geometry(clouds, directions=50, seed=3)
    for name, values, whole in (
        ("capacity", expected.capacities, expected.capacity),
        ("radius", expected.radii, expected.radius),
        ("manifold_dimension", expected.dimensions, expected.dimension),
    ):
        joint = measure(name, clouds, directions=50, seed=3)
        assert [estimate.value for estimate in joint.classes] == pytest.approx(values.tolist())
        assert joint.whole.value == pytest.approx(whole)
        assert joint.whole.n_points == 27
        assert all(estimate.stderr > 0 for estimate in (*joint.classes, joint.whole))
    assert len(calls) == 1
    assert joint.classes[0].ceiling == 8


# Named outcomes


@pytest.mark.parametrize("offset", [0.0, 0.1, 1000.1])
def test_a_constant_class_is_a_point(offset: float) -> None:
    generator = seeded(12)
    others = [torch.randn(1, 20, generator=generator) + 0.3 * torch.randn(9, 20, generator=generator) for _ in range(3)]
    found = mean_field_geometry(
        [torch.randn(1, 20, generator=generator).expand(9, -1) + offset, *[each + offset for each in others]]
    )
    assert found.capacities[0] == pytest.approx(2, abs=0.6)  # 300 directions: 13% of it
    assert (found.radii[0], found.dimensions[0]) == (0, 0)
    assert found.notes[0] == "all points are the same: a point, without radius and dimension"
    assert not any(found.notes[1:])


def test_two_points_are_a_segment() -> None:
    found = mean_field_geometry(far_apart([torch.tensor([[0.5], [-0.5]])] * 4), common=False, directions=3000)
    assert found.capacity == pytest.approx(ball_capacity(0.5 / OF_FOUR, 1), rel=0.05)  # of 12,000 directions: 1.3%
    assert found.dimension <= 1


def test_classes_that_cannot_be_told_apart_have_no_value_and_a_reason() -> None:
    points = torch.randn(9, 4, generator=seeded(13))
    joint = measure("capacity", [points] * 3)
    assert math.isnan(joint.whole.value)
    assert joint.whole.note == "3 of 3 classes have no value"
    assert all("its centroid is the mean of all points" in estimate.note for estimate in joint.classes)
    # one that has none leaves the others theirs
    line = [torch.full((2, 3), value) for value in (-1.0, 0.0, 1.0)]
    joint = measure("radius", line, common=False)
    assert math.isnan(joint.classes[1].value)
    assert joint.whole.value == 0
    assert joint.whole.note == "1 of 3 classes have no value"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"directions": 1}, "directions = 1; expected at least 2"),
        ({"margin": -0.1}, "margin = -0.1; expected"),
        ({"margin": math.nan}, "margin = nan; expected"),
        ({"margin": math.inf}, "margin = inf; expected"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        mean_field_geometry([torch.eye(3), torch.eye(3) + 1], **settings)


def test_one_class_and_impossible_balls_are_refused() -> None:
    with pytest.raises(GeometryError, match="at least two classes"):
        mean_field_geometry([torch.eye(3)])
    for radius, dimension in ((-1.0, 3), (math.nan, 3), (1.0, 0)):
        with pytest.raises(GeometryError, match="expected at least 0 and at least 1"):
            ball_capacity(radius, dimension)
