"""A collapse is told by accuracies alone; what the gradients did before is mentioned beside them."""

from __future__ import annotations

import pytest

from manifoldscope.attacks.checks import Evaluated, collapse_check

COLLAPSED = ((90, 60), (120, 90), (150, 85), (190, 3))
WAVERS = ((90, 60), (120, 90), (125, 80), (126, 85))


def row(accuracies, ratios):
    epochs = enumerate(zip(accuracies, ratios, strict=True), start=1)
    return collapse_check([Evaluated(epoch, 200, *both, ratio) for epoch, (both, ratio) in epochs])


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((0.4, 0.4, 0.1, 0.05), "from 0.4 to 0.1 by epoch 3, before accuracy collapsed"),
        ((0.4, 0.4, 0.3, 0.2), "from 0.4 to 0.2 by epoch 4, when accuracy collapsed"),
        ((0.9, 0.4, 0.3, 0.3), ""),
        ((0.4, None, 0.1, 0.1), ""),
        ((0.4, 0.4, None, 0.1), "from 0.4 to 0.1 by epoch 4, when accuracy collapsed"),
    ],
)
def test_a_fall_of_the_participation_ratio_is_mentioned_of_a_collapse(ratios, said):
    found = row(COLLAPSED, ratios)
    assert found["passed"] is False
    assert found["note"].partition("; the participation ratio of the gradients fell ")[2] == said
    assert found["note"].startswith("epoch 2: 90 of 200 are robust to PGD and 120 FGSM; epoch 4, the last: 3 and 190")


def test_a_fall_of_the_ratio_alone_decides_nothing():
    found = row(WAVERS, (0.4, 0.4, 0.05, 0.05))
    assert found["passed"] is True
    assert "participation" not in found["note"]
    assert row(WAVERS, (None,) * 4) == found
