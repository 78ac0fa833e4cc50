"""Whether halves agree: what is predicted is what fresh samples show, and no value where none is justified."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    MEASURES,
    Clouds,
    Estimate,
    JointEstimate,
    measure,
    reliability,
)
from manifoldscope.geometry.reference import gaussian, geometric_variances
from manifoldscope.registry import Entry
from tests.geometry.samples import seeded


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
        assert found.standard_deviation**2 < 2 * found.standard_error**2

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
