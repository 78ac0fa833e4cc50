"""GREAT score: its formula on confidences whose answer is known, and what it refuses."""

from __future__ import annotations

import math
import re

import pytest
import torch

from manifoldscope.attacks import great_score
from manifoldscope.errors import AttackError


def test_certainty_gives_the_largest_score_and_misclassified_samples_count_with_0():
    sure = torch.eye(3)
    assert great_score(sure, torch.arange(3)) == pytest.approx(math.sqrt(math.pi / 2))
    assert great_score(sure, torch.tensor([0, 1, 0])) == pytest.approx(math.sqrt(math.pi / 2) * 2 / 3)
    assert great_score(torch.full((4, 5), 0.2), torch.arange(4)) == 0
    # ahead of the best other class, not of the mean of them
    mixed = torch.tensor([[0.5, 0.3, 0.2]])
    assert great_score(mixed, torch.tensor([0])) == pytest.approx(math.sqrt(math.pi / 2) * 0.2)


@pytest.mark.parametrize(
    ("confidences", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "expected (n, n_classes) of at least one sample"),
        (torch.eye(3), torch.tensor([0, 1]), "and n labels"),
        (torch.eye(3), torch.tensor([0, 1, 3]), "labels reach from 0 to 3"),
        (5 * torch.eye(3), torch.arange(3), "and not logits"),
        ([[0.9, 0.1]], torch.tensor([0]), "confidences are list and labels Tensor; expected tensors"),
        (torch.full((1, 2), torch.nan), torch.tensor([0]), "hold NaN"),
    ],
)
def test_what_is_no_confidence_is_refused(confidences, labels, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        great_score(confidences, labels)
