"""The line and its band, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
from scipy import stats

from manifoldscope.report.regression import regression
from manifoldscope.seeds import numpy_generator


def test_the_line_agrees_with_scipy() -> None:
    random = numpy_generator(0, "line")
    x, y = random.normal(size=(2, 30))
    x[3], y[5] = np.nan, np.inf
    known = np.isfinite(x) & np.isfinite(y)
    line, other = regression(x, y), stats.linregress(x[known], y[known])
    assert line is not None
    assert line.n == 28
    np.testing.assert_allclose([line.slope, line.intercept], [other.slope, other.intercept], rtol=1e-10)
    # at the mean of x the band is that of a mean; far out it is that of the slope
    quantile = stats.t.ppf(0.975, 26)
    far = np.array([1e6])
    np.testing.assert_allclose(line.band(far) / 1e6, quantile * other.stderr, rtol=1e-4)


def test_the_band_holds_the_true_line_in_95_of_100() -> None:
    random = numpy_generator(1, "band")
    x = np.linspace(0, 1, 12)
    held = 0
    for _ in range(2000):
        line = regression(x, 2 * x + random.normal(size=12))
        assert line is not None
        at = np.array([0.3])
        held += abs(line.at(at) - 0.6)[0] <= line.band(at)[0]
    assert abs(held / 2000 - 0.95) < 0.015


def test_there_is_no_line_of_few_points_or_of_one_value() -> None:
    assert regression(np.arange(3.0), np.arange(3.0)) is None
    assert regression(np.full(9, 1e8), np.arange(9.0)) is None
    assert regression(np.full(9, np.nan), np.arange(9.0)) is None
