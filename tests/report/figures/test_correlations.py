"""Correlations of the wrong shape do not enter a report."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import correlation, drawn
from manifoldscope.errors import ManifoldscopeError


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ManifoldscopeError, match="expected a square one"):
        drawn("correlations", {}, [correlation(np.zeros((2, 3)))])
