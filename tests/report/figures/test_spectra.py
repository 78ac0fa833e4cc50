"""Spectra of the wrong shape do not enter a report."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import drawn, spectrum
from manifoldscope.errors import ManifoldscopeError


def test_variances_that_are_no_list_are_refused() -> None:
    with pytest.raises(ManifoldscopeError, match="expected one dimension"):
        drawn("spectra", {}, [spectrum(np.ones((2, 3)))])
