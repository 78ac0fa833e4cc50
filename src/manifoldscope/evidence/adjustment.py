"""p-values adjusted for how many there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from manifoldscope.evidence.numbers import FloatArray, as_numbers


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """p-values adjusted for their number by Holm (1979): valid whatever the dependence between them.

    Args:
        p_values: (n,) in [0, 1]; NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = as_numbers(p_values, "p_values").values
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    # Holm (1979), section 2: the i-th smallest of n is multiplied by n - i + 1, and none falls below one before it.
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
