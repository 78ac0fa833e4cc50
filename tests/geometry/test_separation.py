"""Between classes: distances, correlations, margins and ratios whose answers are known, and what has none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Clouds, measure
from manifoldscope.geometry import separation as module
from manifoldscope.geometry.reference import exactly, gaussian, geometric_variances, rotation
from manifoldscope.geometry.separation import nearest_classes

NAMES = ["centroid_distance", "centroid_cosine", "linear_margin", "within_between_ratio"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(n_classes: int, shape: tuple[int, int], *, apart: float, seed: int = 0) -> list[torch.Tensor]:
    generator = seeded(seed)
    centroids = apart * torch.randn(n_classes, shape[1], dtype=torch.float64, generator=generator)
    return [
        gaussian(shape[0], geometric_variances(shape[1], 0.9), generator=generator) + centroid for centroid in centroids
    ]


def corners(n_classes: int, n_points: int = 4) -> list[torch.Tensor]:
    """Classes about the corners of a regular simplex of edge sqrt(2), each spread by exactly 1 in directions beyond."""
    spread = torch.zeros(n_points, n_classes + 2, dtype=torch.float64)
    spread[:, n_classes:] = exactly(n_points, [0.5, 0.5], n_features=2, generator=seeded(1))
    return [spread + torch.eye(n_classes + 2)[place] for place in range(n_classes)]


# -- known answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_a_simplex_of_classes_in_closed_form(n_classes: int) -> None:
    points = corners(n_classes)
    distance = measure("centroid_distance", points)
    assert [pair.value for pair in distance.pairs.values()] == pytest.approx([math.sqrt(2)] * len(distance.pairs))
    assert [each.value for each in distance.classes] == pytest.approx([math.sqrt(2)] * n_classes)
    assert measure("centroid_distance", points, unit="radius").whole.value == pytest.approx(math.sqrt(2))
    # 4 points of variance 1 put centroids off by 1/4 each
    assert measure("centroid_distance", points, corrected=True).whole.value == pytest.approx(math.sqrt(2 - 2 / 4))
    correlation = measure("centroid_cosine", points)
    assert [pair.value for pair in correlation.pairs.values()] == pytest.approx(
        [-1 / (n_classes - 1)] * len(distance.pairs)
    )
    assert correlation.whole.value == pytest.approx(1 / (n_classes - 1))
    assert correlation.classes[0].value == pytest.approx(1 / (n_classes - 1))
    # all classes share one spread, which crosses nothing of the line between two corners
    assert measure("linear_margin", points).whole.value == pytest.approx(math.sqrt(2) / 2)
    # the centroids have a total variance of 1
    ratio = measure("within_between_ratio", points)
    assert [each.value for each in (ratio.whole, *ratio.classes)] == pytest.approx([1.0] * (1 + n_classes))
    assert measure("within_between_ratio", points, corrected=True).whole.value == pytest.approx(1 / (1 - 1 / 4))


def test_samples_have_the_shape_that_was_measured() -> None:
    joint = measure("centroid_distance", [torch.eye(3), torch.eye(3).repeat(2, 1) + 1, torch.eye(3)[:2] - 7])
    assert [each.n_points for each in (joint.whole, *joint.classes)] == [11, 3, 6, 2]
    assert {places: pair.n_points for places, pair in joint.pairs.items()} == {(0, 1): 9, (0, 2): 5, (1, 2): 8}
    assert joint.whole.value == pytest.approx(sum(pair.value for pair in joint.pairs.values()) / 3)


def test_the_published_run_of_standard_normal_classes() -> None:
    """100 classes of 50 points in 5,000 dimensions: a centroid correlation of .01."""
    points = [torch.randn(50, 5000, generator=seeded(place)) for place in range(100)]
    joint = measure("centroid_cosine", points)
    assert round(joint.whole.value, 2) == 0.01
    # cosines lie about -1/99 and spread by 1/sqrt(5000): the mean of |x| of such a normal variable
    shift, spread = 1 / 99, 1 / math.sqrt(5000)
    z = shift / spread
    expected = spread * math.sqrt(2 / math.pi) * math.exp(-z * z / 2) + shift * math.erf(z / math.sqrt(2))
    assert joint.whole.value == pytest.approx(expected, rel=0.03)  # 4,950 pairs spread by 1%
    signed = sum(pair.value for pair in joint.pairs.values()) / 4950
    assert signed == pytest.approx(-1 / 99, rel=0.1)


def test_corrections_remove_what_few_points_add() -> None:
    """Two Gaussian classes, four apart, of variance 30 in all: centroids of 10 points are 3 + 3 too far, squared."""
    plain, corrected, ratios = [], [], []
    for seed in range(60):
        first, second = (gaussian(10, torch.ones(30), generator=seeded(2 * seed + which)) for which in (0, 1))
        second[:, 0] += 4
        plain.append(measure("centroid_distance", [first, second]).whole.value ** 2)
        corrected.append(measure("centroid_distance", [first, second], corrected=True).whole.value ** 2)
        ratios.append(1 / measure("within_between_ratio", [first, second], corrected=True).whole.value)
    # a squared distance spreads by sqrt(4 d^2 v + 2 D v^2), v = 0.2: about 3.9, and by 0.5 over sixty draws
    assert sum(plain) / 60 == pytest.approx(16 + 6, abs=1.5)
    assert sum(corrected) / 60 == pytest.approx(16, abs=1.5)
    assert sum(ratios) / 60 == pytest.approx(
        8 / 30, abs=0.03
    )  # 16 / 2 between, 30 within; the same spread, in these units


def test_margins_of_points_and_boxes() -> None:
    point = torch.tensor([[3.0, 4.0]] * 2)
    assert measure("linear_margin", [torch.zeros(2, 2), point]).whole.value == pytest.approx(2.5)
    segment = torch.tensor([[-5.0, 2.0], [5.0, 2.0]])  # the nearest point of a hull need not be a point of the class
    assert measure("linear_margin", [torch.zeros(2, 2), segment]).whole.value == pytest.approx(1)
    cube = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    joint = measure("linear_margin", [cube, cube + torch.tensor([0.0, 3.0, 0.5, 0.0]), cube - 0.5])
    assert [joint.pairs[places].value for places in ((0, 1), (0, 2))] == pytest.approx([1, 0])
    assert joint.pairs[0, 2].note == "no plane separates the two classes"
    assert [each.value for each in joint.classes] == pytest.approx([0, 1, 0])
    assert joint.classes[1].note == "one class against one"
    assert "no plane" in joint.classes[2].note


@pytest.mark.parametrize(("shape", "apart"), [((30, 200), 0.0), ((30, 5), 3.0), ((60, 40), 0.5)])
def test_margins_agree_with_a_support_vector_machine(shape: tuple[int, int], apart: float) -> None:
    first, second = classes(2, shape, apart=apart, seed=3)
    labels = [0] * len(first) + [1] * len(second)
    fitted = SVC(kernel="linear", C=1e8, tol=1e-8).fit(torch.cat([first, second]).numpy(), labels)
    expected = 1 / math.sqrt(float((fitted.coef_**2).sum()))
    assert measure("linear_margin", [first, second]).whole.value == pytest.approx(expected, rel=1e-5)  # its tolerance


@given(
    seed=st.integers(0, 1000),
    width=st.integers(1, 12),
    apart=st.floats(0, 4),
    sizes=st.tuples(*[st.integers(2, 12)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_a_margin_is_left_by_a_plane_and_shrinks_as_points_are_added(
    seed: int, width: int, apart: float, sizes: tuple[int, int]
) -> None:
    generator = seeded(seed)
    first, second = (torch.randn(size, width, dtype=torch.float64, generator=generator) for size in sizes)
    second[:, 0] += apart
    margin = measure("linear_margin", [first, second]).whole.value
    half = measure("centroid_distance", [first, second]).whole.value / 2
    assert 0 <= margin <= half * (1 + 1e-9)
    fewer = measure("linear_margin", [torch.cat([first[:-1], first[:1]]), second]).whole.value
    assert fewer >= margin * (1 - 1e-9) - 1e-12  # rounding
    swapped = measure("linear_margin", [second, first]).whole.value
    assert swapped == pytest.approx(margin, rel=1e-6, abs=1e-7)  # below, hulls are taken to touch
    if sum(sizes) <= width + 1:  # points in general position, few enough to be always separable
        assert margin > 0


# -- laws --------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 1e4]), scale=st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=25, deadline=None)
def test_scale_multiplies_what_has_a_unit_and_shifts_change_nothing(seed: int, offset: float, scale: float) -> None:
    points = classes(3, (9, 6), apart=2.0, seed=seed)
    turn = rotation(6, generator=seeded(seed))
    moved = [scale * (each @ turn + offset) for each in points]
    for name, power, given_settings in (
        ("centroid_distance", 1, {}),
        ("centroid_distance", 0, {"unit": "radius", "corrected": True}),
        ("centroid_cosine", 0, {}),
        ("linear_margin", 1, {}),
        ("within_between_ratio", 0, {"corrected": True}),
    ):
        before, after = measure(name, points, **given_settings), measure(name, moved, **given_settings)
        for places, pair in before.pairs.items():
            # an offset of 10,000 costs float64 points four of their sixteen digits, and near-ties some more
            assert after.pairs[places].value / scale**power == pytest.approx(pair.value, rel=1e-6, abs=1e-6)
        if not math.isnan(before.whole.value):
            assert after.whole.value / scale**power == pytest.approx(before.whole.value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_classes_is_that_of_the_answer(name: str) -> None:
    points = classes(4, (8, 5), apart=2.0)
    before, after = measure(name, points), measure(name, points[::-1])
    assert [each.value for each in after.classes[::-1]] == pytest.approx([each.value for each in before.classes])
    for (i, j), pair in before.pairs.items():
        assert after.pairs[3 - j, 3 - i].value == pytest.approx(pair.value)


def test_centres_are_read_off_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = classes(3, (9, 50), apart=1.0)
    whole = {name: measure(name, points).whole.value for name in NAMES}
    monkeypatch.setattr("manifoldscope.geometry.moments._BLOCK_ELEMENTS", 37)
    assert {name: measure(name, points).whole.value for name in NAMES} == pytest.approx(whole, rel=1e-12)


def test_measures_of_centres_share_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    blocks = module.blocks
    monkeypatch.setattr(module, "blocks", lambda *sizes: calls.append(sizes) or blocks(*sizes))
    together = Clouds(classes(3, (9, 5), apart=1.0))
    for name in ("centroid_distance", "centroid_cosine", "within_between_ratio"):
        measure(name, together)
    assert len(calls) == 3  # one for each class


def test_the_nearest_class_is_that_of_the_smallest_distance() -> None:
    points = classes(5, (20, 6), apart=1.0)
    joint = measure("centroid_distance", points)
    for place, nearest in enumerate(nearest_classes(points)):
        assert joint.pairs[min(place, nearest), max(place, nearest)].value == joint.classes[place].value


# -- what has no answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_class_cannot_be_compared(name: str) -> None:
    with pytest.raises(GeometryError, match="compares classes, and there is 1; give at least 2 classes"):
        measure(name, [torch.eye(3)])
    with pytest.raises(GeometryError, match="give it a list"):
        measure(name, torch.eye(3))


def test_all_classes_equal() -> None:
    points = [torch.randn(9, 4, generator=seeded(1)) + 1000] * 3
    distance = measure("centroid_distance", points)
    assert (distance.whole.value, distance.whole.note) == (0, "the two centroids are the same")
    correlation = measure("centroid_cosine", points).whole
    assert math.isnan(correlation.value)
    assert "no direction" in correlation.note
    margin = measure("linear_margin", points).whole
    assert margin.value == 0
    assert "no plane separates" in margin.note
    ratio = measure("within_between_ratio", points).whole
    assert math.isnan(ratio.value)
    assert "all classes have the same centroid" in ratio.note


def test_constant_classes() -> None:
    points = [torch.full((4, 3), value) for value in (0.0, 1.0, 1.0)]
    distance = measure("centroid_distance", points)
    assert [each.value for each in distance.classes] == pytest.approx([math.sqrt(3), 0, 0])
    relative = measure("centroid_distance", points, unit="radius").whole
    assert math.isnan(relative.value)
    assert "no radius" in relative.note
    assert [pair.value for pair in measure("linear_margin", points).pairs.values()] == pytest.approx(
        [math.sqrt(3) / 2, math.sqrt(3) / 2, 0]
    )
    assert measure("within_between_ratio", points).whole.value == 0


def test_a_class_at_the_mean_of_the_others_is_left_out_and_told() -> None:
    line = [torch.full((2, 3), value) for value in (-1.0, 0.0, 1.0)]
    joint = measure("centroid_cosine", line)
    assert math.isnan(joint.pairs[0, 1].value)
    assert joint.whole.value == pytest.approx(1)
    assert joint.whole.note == "2 of 3 pairs have no value and are left out"
    assert "no direction" in joint.classes[1].note
    assert "whatever they are" in measure("centroid_cosine", line[::2]).pairs[0, 1].note


def test_a_correction_that_leaves_nothing_says_so() -> None:
    # the same population: half of such draws have centroids nearer than their sampling puts them on average
    points = [gaussian(20, torch.ones(40), generator=seeded(seed)) for seed in range(6)]
    joint = measure("centroid_distance", points, corrected=True)
    nothing = [pair for pair in joint.pairs.values() if pair.value == 0]
    assert nothing
    assert all(pair.note == "the centroids differ no more than their sampling explains" for pair in nothing)
    close = [points[0], points[0] + 1e-3]
    ratio = measure("within_between_ratio", close, corrected=True).whole
    assert math.isnan(ratio.value)
    assert "no more than their sampling" in ratio.note
    # and uncorrected, classes that are the same show about their number of points
    assert measure("within_between_ratio", points).whole.value == pytest.approx(20, rel=0.3)  # 5 x 40 squares: 10%


def test_a_solver_that_gives_up_gives_no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(module, "nnls", give_up)
    whole = measure("linear_margin", [torch.eye(3), torch.eye(3) + 5]).whole
    assert math.isnan(whole.value)
    assert "no margin that it could confirm" in whole.note
