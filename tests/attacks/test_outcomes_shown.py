"""What a reader of a notebook, or of a terminal, sees of outcomes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from manifoldscope.attacks import PGD, UniformNoise, evaluate
from manifoldscope.errors import ModelError
from tests.attacks.networks import convolutional, images


def test_outcomes_show_themselves_in_a_line_and_in_a_small_table() -> None:
    found = evaluate(convolutional(), images(), [PGD(epsilon=0.1, steps=2), UniformNoise(epsilon=0.1)])
    line = repr(found)
    assert line.startswith(f"Outcomes({len(images())} images, 2 attacks, ")
    assert line.endswith("% robust)")
    table = found._repr_html_()
    assert table.count("<tr>") == 3
    assert "<td>pgd</td><td>0.1</td>" in table


def test_what_was_not_judged_is_left_empty() -> None:
    table = evaluate(convolutional(), images(), PGD(epsilon=0.1, steps=2), iterate="any")._repr_html_()
    assert "<td>pgd</td><td>0.1</td><td></td><td>" in table


def test_images_that_a_network_cannot_take_are_told_by_their_shape() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 9, 4))
    with pytest.raises(ModelError, match=r"cannot take images of shape \(3, 8, 8\)"):
        evaluate(module, images(), PGD(epsilon=0.1, steps=2))
    assert torch.is_grad_enabled()
