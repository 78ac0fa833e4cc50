"""Spectra: those of the wrong shape do not enter a report, and the labels of small shares have room."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import drawn, spectrum
from manifoldscope.errors import ManifoldscopeError
from manifoldscope.report.settling import renderer_of


def test_variances_that_are_no_list_are_refused() -> None:
    with pytest.raises(ManifoldscopeError, match="expected one dimension"):
        drawn("spectra", {}, [spectrum(np.ones((2, 3)))])


def test_labels_of_small_shares_are_within_the_figure() -> None:
    (figure,) = drawn("spectra", {}, [spectrum(np.geomspace(1, 1e-6, 40))])
    renderer = renderer_of(figure.chart)
    axes = figure.chart.flat[0]
    figure.chart.draw(renderer)  # the label is placed beside those of the ticks
    assert axes.yaxis.label.get_window_extent(renderer).x0 >= 0
