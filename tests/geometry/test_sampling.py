"""What a sample can show: errors that are calibrated, nulls that are exact, and no value where none is justified."""

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
    MEASURES,
    ClassManifold,
    Cloud,
    Clouds,
    Estimate,
    JointEstimate,
    Null,
    Spectrum,
    curve,
    equal_sizes,
    expected_decay_exponent,
    extrapolate,
    gaussian_null,
    halves,
    measure,
    measure_at,
    reliability,
    shuffled_labels,
    subsampled,
)
from manifoldscope.geometry.extrapolation import _spectrum_of_sample
from manifoldscope.geometry.nulls import _triangular
from manifoldscope.geometry.reference import gaussian, geometric_variances, power_law_variances, sphere
from manifoldscope.registry import Entry


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def isotropic(n_points: int, n_features: int) -> float:
    """The participation ratio of a sample of an isotropic Gaussian."""
    return 1 / (1 / (n_points - 1) + 1 / n_features)


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
        """The distance of two centres of n points each, far apart, has variance of 2 / n along the line between."""
        classes = [torch.randn(80, 3, generator=seeded(seed)).double() + 100 * torch.eye(3)[seed] for seed in range(3)]
        (found,) = subsampled(classes, ["centre_distance"], n_splits=60, generator=seeded(6))
        errors = [estimate.stderr for estimate in found.pairs.values()]
        assert len(errors) == 3
        # halvings of one sample know its deviation to about 10%, and that of 80 points its true one to 8%
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
        assert "no standard error: of half of the points, 2 of 2 variances above 0" in found.note

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
        assert ratio.spread[-1] == 0

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
        assert "2 points: 1 of 1 variances above 0" in found.note
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
        assert "none of 2 draws of 3 of 30 points has a value: 2 of 2 variances" in none.note


class TestNull:
    @given(
        values=st.lists(st.floats(-100, 100), min_size=1, max_size=30),
        observed=st.floats(-100, 100),
    )
    @settings(max_examples=100, deadline=None)
    def test_the_rank_is_two_sided_and_counts_the_observed_value(self, values: list[float], observed: float) -> None:
        null = Null(observed, tuple(values))
        mirrored = Null(-observed, tuple(-value for value in values))
        assert 2 / (len(values) + 1) - 1e-12 <= null.p_value <= 1
        assert null.p_value == mirrored.p_value
        assert null.z == pytest.approx(-mirrored.z) or null.z == -mirrored.z
        assert null.quantile(0) == min(values)
        assert null.quantile(1) == max(values)

    def test_hand_counted_ranks(self) -> None:
        values = tuple(map(float, range(1, 20)))
        assert Null(25.0, values).p_value == pytest.approx(2 / 20)
        assert Null(19.0, values).p_value == pytest.approx(4 / 20)
        assert Null(10.0, values).p_value == 1
        assert Null(25.0, (3.0, 3.0)).z == math.inf
        assert Null(3.0, (3.0, 3.0)).z == 0
        with pytest.raises(GeometryError, match="needs a note"):
            Null(1.0, ())

    def test_isotropic_clouds_show_what_their_size_gives(self) -> None:
        curved = gaussian(50, power_law_variances(2048, 1.0), generator=seeded(0))
        null = gaussian_null("participation_ratio", curved, draws=20, generator=seeded(1))
        assert null.mean == pytest.approx(isotropic(50, 2048), rel=0.005)  # the mean of twenty varies by 0.1%
        assert null.z < -50
        assert null.p_value == pytest.approx(2 / 21)
        dimension = gaussian_null("pca_dimension", curved, draws=20, generator=seeded(1))
        assert dimension.mean == pytest.approx(46, abs=0.5)  # a whole number that hardly ever varies

    @pytest.mark.parametrize("name", ["participation_ratio", "two_nn"])
    def test_the_triangular_form_stands_for_all_features(self, name: str) -> None:
        numbers = seeded(2)
        short = [measure(name, _triangular(12, 40, numbers)).value for _ in range(200)]
        long = [measure(name, torch.randn(12, 40, dtype=torch.float64, generator=numbers)).value for _ in range(200)]
        error = math.hypot(np.std(short), np.std(long)) / math.sqrt(200)
        assert abs(np.mean(short) - np.mean(long)) < 3.5 * error  # of the difference, for a fixed seed
        assert np.std(short) == pytest.approx(np.std(long), rel=0.35)  # TwoNN has heavy tails

    def test_clouds_of_the_same_covariance_have_the_same_spectrum(self) -> None:
        for points in (torch.randn(20, 300, generator=seeded(3)), torch.randn(90, 6, generator=seeded(3)) + 5):
            for name in ("pca_dimension", "participation_ratio", "stable_rank"):
                null = gaussian_null(name, points, covariance="same", draws=3, generator=seeded(4))
                assert null.values == pytest.approx([null.observed] * 3, rel=1e-6)  # float32 points
                assert (null.z, null.p_value) == (0, 1) or name != "pca_dimension"

    def test_what_is_not_of_second_order_stands_out(self) -> None:
        curved = gaussian_null("two_nn", sphere(200, 2, generator=seeded(5)), covariance="same", generator=seeded(6))
        assert curved.observed < 2.5
        assert curved.z < -2
        flat = gaussian(30, power_law_variances(60, 1.0), generator=seeded(7))
        tests = [gaussian_null("two_nn", flat, covariance="same", draws=19, generator=seeded(s)) for s in range(5)]
        assert min(null.p_value for null in tests) > 0.1

    def test_the_rank_of_a_gaussian_cloud_is_uniform(self) -> None:
        ranks = []
        for seed in range(100):
            points = gaussian(20, power_law_variances(30, 1.0), generator=seeded(seed))
            null = gaussian_null("two_nn", points, covariance="same", draws=9, generator=seeded(1000 + seed))
            ranks.append(null.p_value)
        # of 100 binomial draws with p = 0.2 and 0.6, within three standard deviations
        assert 8 <= sum(rank <= 0.21 for rank in ranks) <= 32
        assert 45 <= sum(rank <= 0.61 for rank in ranks) <= 75

    def test_a_constant_class_is_like_its_null(self) -> None:
        for covariance in ("isotropic", "same"):
            null = gaussian_null("pca_dimension", torch.ones(6, 9), covariance=covariance, generator=seeded(0))
            assert (null.observed, null.mean, null.z, null.p_value) == (0, 0, 0, 1)

    def test_a_null_without_values_says_why(self) -> None:
        null = gaussian_null("decay_exponent", torch.randn(3, 9, generator=seeded(0)), draws=2, generator=seeded(0))
        assert math.isnan(null.p_value)
        assert math.isnan(null.mean)
        assert math.isnan(null.quantile(0.5))
        assert "2 of 2 draws have no value" in null.note
        with pytest.raises(GeometryError, match="expected 'isotropic' or 'same'"):
            gaussian_null("two_nn", torch.eye(5), covariance="diagonal", generator=seeded(0))


class TestShuffledLabels:
    def test_classes_apart_fall_below_what_mixtures_show(self) -> None:
        centres = 10 * torch.eye(12)
        classes = [
            torch.randn(size, 12, generator=seeded(size)) @ torch.diag(centres[k] + 0.1)
            for k, size in enumerate((20, 30, 40))
        ]
        null = shuffled_labels("participation_ratio", classes, draws=40, generator=seeded(0))
        expected = [measure("participation_ratio", points).value for points in classes]
        assert [each.observed for each in null.classes] == pytest.approx(expected, rel=1e-5)  # float32 points
        assert null.whole.observed == pytest.approx(sum(expected) / 3, rel=1e-5)
        assert [each.p_value for each in null.classes] == pytest.approx([2 / 41] * 3)
        assert null.whole.z < -3

    def test_labels_without_meaning_change_nothing(self) -> None:
        classes = [torch.randn(25, 8, generator=seeded(k)) for k in range(4)]
        null = shuffled_labels("within_between_ratio", classes, draws=40, generator=seeded(0))
        assert null.whole.p_value > 0.05
        pairs = shuffled_labels("centre_distance", classes, draws=9, generator=seeded(0)).pairs
        assert sorted(pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]

    def test_one_class_is_refused(self) -> None:
        with pytest.raises(GeometryError, match="no labels to shuffle"):
            shuffled_labels("pca_dimension", [torch.eye(5)], generator=seeded(0))


def classes_of(ratios: list[float], n_points: int, seed: int) -> list[torch.Tensor]:
    draws = seeded(seed)
    return [gaussian(n_points, geometric_variances(40, ratio), generator=draws) for ratio in ratios]


class TestReliability:
    def test_predicts_how_well_fresh_samples_agree(self) -> None:
        """Over forty layers of 30 classes of 60 points, 0.55 is predicted where two samples agree by 0.57."""
        ratios = torch.linspace(0.60, 0.70, 30).tolist()
        found, seen = [], []
        for seed in range(10):
            first, second = classes_of(ratios, 60, seed), classes_of(ratios, 60, 1000 + seed)
            found.append(reliability("participation_ratio", first, generator=seeded(seed)))
            values = [[measure("participation_ratio", points).value for points in each] for each in (first, second)]
            seen.append(np.corrcoef(*values)[0, 1])
        truth = np.mean(seen)
        # either varies by 0.1 from layer to layer, so that the means of ten differ by 0.045
        assert np.mean([each.pearson.full for each in found]) == pytest.approx(truth, abs=0.13)
        assert sum(each.pearson.low < truth < each.pearson.high for each in found) >= 9  # of ten intervals of 95%
        assert all(each.pearson.halves < each.pearson.full for each in found if each.pearson.halves > 0)
        assert found[0].n_classes == 30

    def test_classes_that_do_not_differ_are_noted(self) -> None:
        found = reliability("participation_ratio", classes_of([0.6] * 12, 60, 0), generator=seeded(0))
        assert "hardly more than two samples of one class" in found.note
        assert found.pearson.low < 0.3
        assert found.spread**2 < 2 * found.noise**2

    def test_classes_without_values_or_of_one_value_have_a_reason(self) -> None:
        constant = reliability("pca_dimension", [torch.ones(8, 3)] * 4, generator=seeded(0))
        assert math.isnan(constant.pearson.full)
        assert "one value for some of the halves" in constant.note
        short = reliability(
            "decay_exponent", [torch.randn(6, 9, generator=seeded(k)) for k in range(3)], generator=seeded(0)
        )
        assert math.isnan(short.spearman.full)
        assert "3 of 3 classes have no value for each half" in short.note
        assert "a correlation needs 3" in short.note

    def test_unequal_sizes_are_noted(self) -> None:
        classes = [torch.randn(size, 5, generator=seeded(size)) for size in (10, 20, 30)]
        found = reliability("participation_ratio", classes, generator=seeded(0))
        assert "classes have 10 to 30 points" in found.note
        assert (found.pearson.low, found.pearson.high) == (-1, 1)  # three classes leave the whole range

    def test_what_cannot_be_compared_is_refused(self) -> None:
        points = torch.randn(9, 5, generator=seeded(0))
        with pytest.raises(GeometryError, match="at least 3"):
            reliability("pca_dimension", [points, points], generator=seeded(0))
        with pytest.raises(GeometryError, match="a class has 3 points"):
            reliability("pca_dimension", [points, points, points[:3]], generator=seeded(0))

    def test_a_measure_of_the_whole_alone_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def whole(clouds: Clouds) -> JointEstimate:
            return JointEstimate(whole=Estimate(1.0, clouds.n_points, clouds.n_features))

        monkeypatch.setitem(
            MEASURES._entries, "whole", Entry("measure", "whole", whole, {"reads": "clouds", "invariant_to": ()})
        )
        with pytest.raises(GeometryError, match="nothing of single classes"):
            reliability("whole", [torch.eye(5)] * 3, generator=seeded(0))


SPECTRA = {
    "geometric": geometric_variances(200, 0.9),
    "power law": power_law_variances(1000, 1.0),
    "isotropic": torch.ones(50, dtype=torch.float64),
    "isotropic and wide": torch.ones(1000, dtype=torch.float64),
}


class TestExtrapolation:
    @pytest.mark.parametrize("spectrum", SPECTRA)
    def test_of_a_participation_ratio_meets_what_more_points_show(self, spectrum: str) -> None:
        variances = SPECTRA[spectrum]
        found = [
            extrapolate(
                "participation_ratio",
                gaussian(120, variances, generator=seeded(seed)),
                n_points=480,
                draws=10,
                generator=seeded(seed),
            )
            for seed in range(8)
        ]
        given = [estimate for estimate in found if math.isfinite(estimate.value)]
        assert len(given) >= 5  # nine of ten, as a rule
        more = [
            measure("participation_ratio", gaussian(480, variances, generator=seeded(90 + k))).value for k in range(4)
        ]
        off = [(estimate.value - sum(more) / 4) / estimate.stderr for estimate in given]
        # 0.6 to 1.5 was seen; eight errors know their size to a quarter, and the truth has an error as well
        assert np.sqrt(np.mean(np.square(off))) < 2.2

    def test_of_a_dimension_is_given_where_it_has_levelled_off(self) -> None:
        points = gaussian(200, power_law_variances(300, 2.0), generator=seeded(1))
        found = extrapolate("pca_dimension", points, n_points=800, generator=seeded(1))
        assert found.value == pytest.approx(12, abs=3 * found.stderr)  # 12 is what it comes to
        assert (found.n_points, found.ceiling, found.note) == (800, None, "extrapolated from 200 points")

    @pytest.mark.parametrize("exponent", [1.0, 1.2])
    def test_of_fifty_points_with_many_dimensions_is_refused(self, exponent: float) -> None:
        """As fifty activations of a class: a PCA dimension of 37 to 43, where many more points show hundreds."""
        points = gaussian(50, power_law_variances(2048, exponent), generator=seeded(2))
        assert measure("pca_dimension", points).value in range(36, 45)
        for n_points in (1000, 200):
            found = extrapolate("pca_dimension", points, n_points=n_points, generator=seeded(3))
            assert math.isnan(found.value)
            assert found.note.startswith("not extrapolated: ")
            assert found.n_points == n_points

    def test_each_refusal_says_why(self) -> None:
        points = gaussian(60, geometric_variances(40, 0.9), generator=seeded(4))

        def note(name: str, cloud: torch.Tensor, n_points: int) -> str:
            return extrapolate(name, cloud, n_points=n_points, draws=5, generator=seeded(5)).note

        assert "more than 4 times 60" in note("participation_ratio", points, 241)
        assert "expected at least 32" in note("participation_ratio", points[:31], 50)
        assert "follows no law" in note("two_nn", points, 100)
        assert "within 10% of 59" in note("participation_ratio", torch.randn(60, 5000, generator=seeded(0)), 100)
        assert "levelled off" in note("pca_dimension", points, 240) or "predicts" in note("pca_dimension", points, 240)
        assert "expected a value above 0" in note("participation_ratio", torch.ones(40, 3), 100)

    def test_to_no_more_than_the_points_at_hand(self) -> None:
        points = gaussian(60, geometric_variances(40, 0.9), generator=seeded(4))
        same = extrapolate("participation_ratio", points, n_points=60, generator=seeded(5))
        assert same.value == pytest.approx(measure("participation_ratio", points).value)
        with pytest.raises(GeometryError, match="use measure_at for fewer"):
            extrapolate("participation_ratio", points, n_points=59, generator=seeded(0))


class TestExpectedDecayExponent:
    def test_fifty_points_understate_an_exponent_of_one_and_not_of_two(self) -> None:
        one, two = (expected_decay_exponent(a, 50, 2048, generator=seeded(0)) for a in (1.0, 2.0))
        assert 0.65 < one.value < 0.73
        assert 0 < one.stderr < 0.05
        assert two.value == pytest.approx(2.0, abs=0.1)  # eight samples, each off by 0.04
        assert one.parameters == {"first": 1, "last": None}

    def test_a_sample_is_drawn_in_blocks_or_at_once_alike(self) -> None:
        scales = power_law_variances(30_000, 1.0).sqrt()  # two blocks of the features of 50 points
        (blocked,) = [_spectrum_of_sample(50, scales, seeded(1))]
        whole = Spectrum.of(torch.randn(50, 30_000, dtype=torch.float64, generator=seeded(2)) * scales)
        assert (blocked.n_points, blocked.n_features) == (50, 30_000)
        # the expected total is the sum of the variances, of which the first alone varies by sqrt(2 / 49)
        assert blocked.total_variance == pytest.approx(float(scales.square().sum()), rel=0.1)
        assert whole.total_variance == pytest.approx(blocked.total_variance, rel=0.15)

    def test_what_cannot_be_a_sample_is_refused(self) -> None:
        for arguments, message in (
            ((-1.0, 50, 10), "exponent = -1.0"),
            ((math.nan, 50, 10), "exponent = nan"),
            ((1.0, 1, 10), "at least 2 points"),
            ((1.0, 50, 0), "n_features = 0"),
        ):
            with pytest.raises(GeometryError, match=message):
                expected_decay_exponent(*arguments, generator=seeded(0))
        short = expected_decay_exponent(1.0, 3, 10, generator=seeded(0))
        assert math.isnan(short.value)
        assert "variances above 0" in short.note


def test_points_that_cannot_be_measured_are_refused_by_all() -> None:
    bad = torch.full((8, 3), math.nan)
    for call in (
        lambda points: subsampled(points, ["two_nn"], generator=seeded(0)),
        lambda points: curve("two_nn", points, generator=seeded(0)),
        lambda points: measure_at("two_nn", points, n_points=4, generator=seeded(0)),
        lambda points: gaussian_null("two_nn", points, generator=seeded(0)),
        lambda points: extrapolate("participation_ratio", points, n_points=9, generator=seeded(0)),
        lambda points: reliability("two_nn", [points] * 3, generator=seeded(0)),
        lambda points: shuffled_labels("two_nn", [points] * 3, generator=seeded(0)),
        lambda points: equal_sizes([points], generator=seeded(0)),
    ):
        with pytest.raises(GeometryError, match="NaN or infinity"):
            call(bad)


def test_a_scaling_is_made_anew_for_every_draw_and_recorded() -> None:
    points = torch.randn(40, 5, generator=seeded(0)) * torch.tensor([1.0, 1.0, 1.0, 1.0, 100.0])
    found = curve("participation_ratio", points, sizes=(40,), scaling="standardise", generator=seeded(1))
    assert found.mean[0] == pytest.approx(measure("participation_ratio", points, scaling="standardise").value)
    assert found.parameters == {"scaling": "standardise"}
    null = gaussian_null("participation_ratio", points, scaling="standardise", generator=seeded(1))
    assert null.z > -3
    (estimate,) = subsampled(Clouds([points], scaling="standardise"), ["participation_ratio"], generator=seeded(1))
    assert estimate.classes[0].stderr > 0
