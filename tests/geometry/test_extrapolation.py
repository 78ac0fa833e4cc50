"""More points than there are: answers that more points confirm, or a refusal that says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    Spectrum,
    expected_decay_exponent,
    extrapolate,
    measure,
)
from manifoldscope.geometry.extrapolation import _spectrum_of_sample
from manifoldscope.geometry.reference import gaussian, geometric_variances, power_law_variances
from tests.geometry.samples import seeded

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
        assert "eigenvalues above 0" in short.note
