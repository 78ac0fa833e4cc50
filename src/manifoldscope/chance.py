"""When an accuracy is no better than chance: one rule for those who compute and those who conclude."""

from __future__ import annotations


def near_chance(accuracy: float, n_classes: int) -> bool:
    """Whether an accuracy is hardly above guessing among `n_classes`.

    Hardly: by at most a tenth of the way from chance to 1, and by at most ten times chance, which is the less where
    there are more than about 100 classes. Labels in another order, of which a few fit by accident, stay below it.

    Example:
        >>> near_chance(0.17, 10), near_chance(0.008, 1000), near_chance(0.08, 1000)
        (True, True, False)
    """
    guess = 1 / n_classes
    return accuracy <= guess + min(10 * guess, 0.1 * (1 - guess))
