"""Is clean accuracy above chance level?"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from manifoldscope.chance import near_chance

CHANCE_P_VALUE = 0.01
"""How rarely a network that is right half of the time may do as badly as one that is said to be at chance level."""


@dataclass(frozen=True)
class Chance:
    """How clean accuracy compares with chance level.

    Attributes:
        near: accuracy is hardly above chance (`chance.near_chance`).
        at_chance: that, and so few correct images would be rare (p < 0.01) for a network that is right half of the
            time: with very few images nothing can be said.
        expected, text: the rule and what was seen, in words.
    """

    near: bool
    at_chance: bool
    expected: str
    text: str


def chance(n_correct: int, n_images: int, n_classes: int) -> Chance:
    """Compare clean accuracy with chance level among `n_classes`, by the size of the difference.

    A test of "better than chance" would be passed by scrambled labels of which a few happen to fit.
    """
    near = near_chance(n_correct / n_images, n_classes)
    rare = float(stats.binom.cdf(n_correct, n_images, 0.5)) < CHANCE_P_VALUE
    return Chance(
        near,
        near and rare,
        "well above chance level",
        f"{n_correct} of {n_images} clean images are classified correctly, and chance is 1 in {n_classes}",
    )
