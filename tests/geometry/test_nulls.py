"""What chance gives: ranks that are exact, and nulls that keep what they say they keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    Null,
    gaussian_null,
    measure,
    shuffled_labels,
)
from manifoldscope.geometry.nulls import _triangular
from manifoldscope.geometry.reference import gaussian, power_law_variances, sphere
from tests.geometry.samples import isotropic, seeded


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
        centroids = 10 * torch.eye(12)
        classes = [
            torch.randn(size, 12, generator=seeded(size)) @ torch.diag(centroids[k] + 0.1)
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
        pairs = shuffled_labels("centroid_distance", classes, draws=9, generator=seeded(0)).pairs
        assert sorted(pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]

    def test_one_class_is_refused(self) -> None:
        with pytest.raises(GeometryError, match="no labels to shuffle"):
            shuffled_labels("pca_dimension", [torch.eye(5)], generator=seeded(0))
