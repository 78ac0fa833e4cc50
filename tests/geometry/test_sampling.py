"""What a sample can show: errors that are calibrated, curves with their ceilings, and equal numbers of points."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError, StudyError
from manifoldscope.geometry import (
    ClassManifold,
    Cloud,
    curve,
    equal_sizes,
    halves,
    measure,
    measure_at,
    subsampled,
)
from manifoldscope.geometry.reference import gaussian, geometric_variances, power_law_variances
from tests.geometry.samples import isotropic, seeded


class TestStandardErrors:
    @pytest.mark.parametrize("exponent", [1.0, 2.0])
    def test_are_calibrated(self, exponent: float) -> None:
        """Ratios of the mean standard error to the true deviation, seen over 80 samples of 200 points:

        exponent 1: PCA dimension 0.86, participation ratio 0.88, TwoNN 0.92, maximum likelihood 0.97;
        exponent 2: 0.94, 0.98, 0.83, 1.13.
        """
        names = ["pca_dimension", "participation_ratio", "two_nn", "mle"]
        values, errors = [], []
        for seed in range(40):
            points = gaussian(200, power_law_variances(300, exponent), generator=seeded(seed))
            found = subsampled(points, names, n_splits=5, generator=seeded(100 + seed))
            values.append([estimate.value for estimate in found])
            errors.append([estimate.stderr for estimate in found])
        ratios = np.mean(errors, axis=0) / np.std(values, axis=0, ddof=1)
        # forty samples know a deviation to 11%; the assumption about n is good to about 20%
        assert (ratios > 0.65).all(), ratios
        assert (ratios < 1.5).all(), ratios

    def test_are_those_of_disjoint_halves(self) -> None:
        points = torch.randn(30, 4, generator=seeded(0))
        (found,) = subsampled(points, ["stable_rank"], n_splits=3, generator=seeded(1))
        again = seeded(1)
        gaps = []
        for _ in range(3):
            first, second = halves(points, generator=again)
            gaps.append(measure("stable_rank", first).value - measure("stable_rank", second).value)
        plain = math.sqrt(sum(gap**2 for gap in gaps) / 3) / 2
        assert plain * (1 - 1e-9) <= found.stderr <= 2 * plain  # larger where the value falls with fewer points

    def test_do_not_depend_on_how_the_points_are_given(self) -> None:
        points = torch.randn(20, 400, generator=seeded(2))
        forms = [points, points.numpy(), ClassManifold(points, label=3), Cloud(points), Cloud(points).reduced()]
        wanted = [("pca_dimension", {"fraction": 0.8}), "two_nn"]
        found = [subsampled(form, wanted, generator=seeded(3)) for form in forms]
        for estimates in found[1:]:
            for estimate, expected in zip(estimates, found[0], strict=True):
                assert estimate.value == pytest.approx(expected.value, rel=1e-5)  # float32 points
                assert estimate.stderr == pytest.approx(expected.stderr, rel=1e-3)  # a difference of such values
                assert (estimate.parameters, estimate.n_features) == (expected.parameters, 400)

    def test_halves_are_shared_by_all_measures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = []
        subset = Cloud.subset
        monkeypatch.setattr(Cloud, "subset", lambda cloud, rows: drawn.append(len(rows)) or subset(cloud, rows))
        names = ["pca_dimension", "participation_ratio", "mle"]
        subsampled(torch.randn(21, 5, generator=seeded(4)), names, n_splits=2, generator=seeded(5))
        assert drawn == [10, 10, 10, 10]

    def test_of_a_joint_measure_come_for_whole_classes_and_pairs(self) -> None:
        """The distance of two centroids of n points each, far apart, has variance of 2 / n along the line between."""
        classes = [torch.randn(80, 3, generator=seeded(seed)).double() + 100 * torch.eye(3)[seed] for seed in range(3)]
        (found,) = subsampled(classes, ["centroid_distance"], n_splits=60, generator=seeded(6))
        errors = [estimate.stderr for estimate in found.pairs.values()]
        assert len(errors) == 3
        # split_halves of one sample know its deviation to about 10%, and that of 80 points its true one to 8%
        assert errors == pytest.approx([math.sqrt(2 / 80)] * 3, rel=0.35)
        (each,) = subsampled(classes, ["participation_ratio"], generator=seeded(6))
        assert all(estimate.stderr > 0 for estimate in each.classes)

    def test_a_value_that_the_sample_size_makes_is_noted(self) -> None:
        small = subsampled(torch.randn(60, 500, generator=seeded(7)), ["pca_dimension", "two_nn"], generator=seeded(8))
        assert "when half of the points are left out: it describes the sample" in small[0].note
        points = gaussian(400, geometric_variances(60, 0.6), generator=seeded(9))
        for estimate in subsampled(points, ["pca_dimension", "participation_ratio"], generator=seeded(8)):
            assert not estimate.note

    def test_where_there_is_none_the_note_says_why(self) -> None:
        three = torch.randn(3, 9, generator=seeded(10))
        for points, note in ((three, "3 points are too few to halve"), ([three, three], "3 points are too few")):
            (found,) = subsampled(points, ["participation_ratio"], generator=seeded(0))
            estimate = found.classes[0] if isinstance(points, list) else found
            assert estimate.stderr is None
            assert note in estimate.note
        (found,) = subsampled(torch.randn(7, 9, generator=seeded(11)), ["decay_exponent"], generator=seeded(0))
        assert math.isfinite(found.value)
        assert found.stderr is None
        assert "no standard error: of half of the points, 2 of 2 eigenvalues above 0" in found.note

    def test_of_degenerate_points_are_0_or_have_a_reason(self) -> None:
        for points in (torch.ones(8, 3), torch.eye(3).repeat(3, 1), torch.zeros(4, 1)):
            for found in subsampled(points, ["pca_dimension", "participation_ratio", "two_nn"], generator=seeded(0)):
                assert math.isfinite(found.value) or found.note
                assert found.stderr is None or math.isfinite(found.stderr)
        (constant,) = subsampled(torch.ones(8, 3), ["pca_dimension"], generator=seeded(0))
        assert (constant.value, constant.stderr) == (0, 0)

    def test_arguments_that_do_not_fit_are_refused(self) -> None:
        points = torch.eye(6)
        with pytest.raises(GeometryError, match="n_splits = 0"):
            subsampled(points, ["pca_dimension"], n_splits=0, generator=seeded(0))
        with pytest.raises(GeometryError, match="1 estimates for 2 measures"):
            subsampled(points, ["two_nn", "mle"], [measure("mle", points)], generator=seeded(0))
        with pytest.raises(StudyError, match="pca_dimension"):
            subsampled(points, ["pca_dimensions"], generator=seeded(0))
        with pytest.raises(GeometryError, match="scaling"):
            subsampled(Cloud(points), ["mle"], generator=seeded(0), scaling="standardise")


class TestCurve:
    def test_follows_the_known_answers_of_an_isotropic_gaussian(self) -> None:
        points = gaussian(200, torch.ones(2048), generator=seeded(0))
        dimension = curve("pca_dimension", points, sizes=(200, 50, 100), draws=3, generator=seeded(1))
        assert dimension.sizes == (50, 100, 200)
        assert dimension.mean == pytest.approx((46, 92, 181), abs=0.7)  # whole numbers that hardly ever vary
        assert dimension.ceiling == (47, 95, 190)
        assert (dimension.n_points, dimension.n_features, dimension.parameters) == (200, 2048, {"fraction": 0.95})
        ratio = curve("participation_ratio", points, draws=3, generator=seeded(1))
        assert ratio.mean == pytest.approx([isotropic(size, 2048) for size in ratio.sizes], rel=0.02)  # spread 1%
        assert ratio.standard_deviation[-1] == 0

    @given(n_points=st.integers(2, 60), seed=st.integers(0, 99))
    @settings(max_examples=20, deadline=None)
    def test_ends_in_the_value_of_all_points_and_its_ceiling_never_falls(self, n_points: int, seed: int) -> None:
        points = gaussian(n_points, torch.ones(7), generator=seeded(seed))
        found = curve("participation_ratio", points, draws=2, generator=seeded(seed))
        assert found.sizes[-1] == n_points
        assert found.mean[-1] == pytest.approx(measure("participation_ratio", points).value)
        assert all(small < large for small, large in pairwise(found.sizes))
        assert all(small <= large for small, large in pairwise(found.ceiling))
        assert all(mean <= ceiling * (1 + 1e-9) for mean, ceiling in zip(found.mean, found.ceiling, strict=True))

    def test_of_classes_follows_the_value_of_the_whole(self) -> None:
        classes = [torch.randn(size, 6, generator=seeded(size)) + size for size in (20, 30)]
        found = curve("within_between_ratio", classes, draws=2, generator=seeded(0))
        assert (found.sizes[-1], found.n_points) == (20, 20)
        assert all(map(math.isfinite, found.mean))
        with pytest.raises(GeometryError, match="nothing of several classes as a whole"):
            curve("pca_dimension", classes, generator=seeded(0))

    def test_a_size_without_a_value_has_a_reason(self) -> None:
        found = curve("decay_exponent", torch.randn(20, 5, generator=seeded(1)), sizes=(2, 20), generator=seeded(0))
        assert math.isnan(found.mean[0])
        assert "2 points: 1 of 1 eigenvalues above 0" in found.note
        assert math.isfinite(found.mean[1])

    @pytest.mark.parametrize("sizes", [(1, 5), (5, 21), ()])
    def test_sizes_that_cannot_be_drawn_are_refused(self, sizes: tuple[int, ...]) -> None:
        with pytest.raises(GeometryError, match="expected from 2 to 20, each point once"):
            curve("pca_dimension", torch.randn(20, 5), sizes=sizes, generator=seeded(0))


class TestEqualSizes:
    @given(sizes=st.lists(st.integers(2, 30), min_size=1, max_size=4), seed=st.integers(0, 99))
    @settings(max_examples=30, deadline=None)
    def test_each_class_gives_as_many_of_its_own_points(self, sizes: list[int], seed: int) -> None:
        classes = [ClassManifold(torch.arange(size)[:, None] + 100.0 * k, label=k) for k, size in enumerate(sizes)]
        drawn = equal_sizes(classes, generator=seeded(seed))
        assert [each.n_points for each in drawn] == [min(sizes)] * len(sizes)
        for before, after in zip(classes, drawn, strict=True):
            assert after.label == before.label
            rows = after.points.flatten().tolist()
            assert len(set(rows)) == len(rows)
            assert set(rows) <= set(before.points.flatten().tolist())

    def test_more_points_than_the_smallest_class_has_are_refused(self) -> None:
        with pytest.raises(GeometryError, match="n_points = 4; the smallest class has 3 points"):
            equal_sizes([torch.eye(5), torch.eye(5)[:3].numpy()], n_points=4, generator=seeded(0))
        with pytest.raises(GeometryError, match="no manifolds"):
            equal_sizes([], generator=seeded(0))


class TestMeasureAt:
    def test_a_large_class_shows_what_small_ones_of_its_law_show(self) -> None:
        variances = power_law_variances(300, 1.0)
        large = gaussian(400, variances, generator=seeded(0))
        found = measure_at("participation_ratio", large, n_points=40, generator=seeded(1))
        small = [
            measure_at(
                "participation_ratio", gaussian(40, variances, generator=seeded(k)), n_points=40, generator=seeded(k)
            )
            for k in range(1, 17)
        ]
        assert found.ceiling == small[0].ceiling == 39
        values = [estimate.value for estimate in small]
        error = math.hypot(found.stderr, np.std(values, ddof=1) / 4)
        assert abs(found.value - np.mean(values)) < 3 * error  # of sixteen classes and one
        assert measure("participation_ratio", large).value > 1.3 * found.value

    @pytest.mark.parametrize("n_points", [30, 60])
    def test_its_standard_error_is_calibrated(self, n_points: int) -> None:
        """Seen over 60 samples of 60 points: 1.18 where the true deviation is 1.11, and 1.45 where it is 1.87."""
        variances = power_law_variances(200, 1.0)
        found = [
            measure_at(
                "participation_ratio",
                gaussian(60, variances, generator=seeded(seed)),
                n_points=n_points,
                generator=seeded(seed),
            )
            for seed in range(40)
        ]
        deviation = np.std([estimate.value for estimate in found], ddof=1)
        # forty samples know a deviation to 11%, and the assumption about n is good to about 20%
        assert 0.65 < np.mean([estimate.stderr for estimate in found]) / deviation < 1.5

    def test_says_what_it_averages_and_refuses_more_points_than_there_are(self) -> None:
        points = torch.randn(30, 200, generator=seeded(2))
        found = measure_at("pca_dimension", points, n_points=20, draws=4, generator=seeded(3), fraction=0.9)
        assert found.note.startswith("mean over 4 draws of 20 of 30 points")
        assert (found.n_points, found.n_features, found.parameters) == (20, 200, {"fraction": 0.9})
        with pytest.raises(GeometryError, match="expected from 2 to 30"):
            measure_at("pca_dimension", points, n_points=31, generator=seeded(0))
        with pytest.raises(GeometryError, match="2 manifolds; expected the points of one class"):
            measure_at("pca_dimension", [points, points], n_points=9, generator=seeded(0))
        none = measure_at("decay_exponent", points, n_points=3, draws=2, generator=seeded(0))
        assert math.isnan(none.value)
        assert "none of 2 draws of 3 of 30 points has a value: 2 of 2 eigenvalues" in none.note
