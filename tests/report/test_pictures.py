"""Pictures of the wrong shape do not enter a report."""

from __future__ import annotations

import numpy as np
import pytest

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.report import CorrelationPicture, ExamplePicture


def test_pictures_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ManifoldscopeError, match="square"):
        CorrelationPicture("a", "l", 0, "c", np.zeros((2, 3)), 0.1, 0.1)
    with pytest.raises(ManifoldscopeError, match=r"expected \(h, w\)"):
        ExamplePicture("a", "pgd", 0.1, "c", "i", np.zeros((3, 8, 8)), np.zeros((3, 8, 8)), 0, 0, 1)
    with pytest.raises(ManifoldscopeError, match="differ in shape"):
        ExamplePicture("a", "pgd", 0.1, "c", "i", np.zeros((8, 8)), np.zeros((4, 4)), 0, 0, 1)
