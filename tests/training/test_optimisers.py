"""Optimisers take the steps that their papers say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from manifoldscope.errors import StudyError
from manifoldscope.training.optimisers import STATE_OF, one_cycle, optimiser_of


def steps(name, n, *, decay=0.0, rate=0.1, slope=2.0, start=1.0):
    """A parameter after each of n steps on a plane of constant slope."""
    parameter = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimiser = optimiser_of(name, [parameter], learning_rate=rate, weight_decay=decay)
    places = []
    for _ in range(n):
        optimiser.zero_grad()
        (slope * parameter).sum().backward()
        optimiser.step()
        places.append(parameter.item())
    return places, optimiser


def test_sgd_steps_with_nesterov_momentum():
    # torch's form: v = 0.9 v + g, step g + 0.9 v; the first v is g
    velocity, place, expected = 0.0, 1.0, []
    for _ in range(3):
        velocity = 0.9 * velocity + 2.0
        place -= 0.1 * (2.0 + 0.9 * velocity)
        expected.append(place)
    assert steps("sgd", 3)[0] == pytest.approx(expected)


def test_adam_moves_by_the_learning_rate_on_a_plane():
    assert steps("adam", 3)[0] == pytest.approx([0.9, 0.8, 0.7], abs=1e-7)


def test_weight_decay_adds_the_gradient_of_an_l2_penalty():
    assert steps("sgd", 1, decay=0.5)[0] == pytest.approx([1 - 0.1 * 1.9 * (2 + 0.5)])
    assert steps("sgd", 1, decay=0.5, slope=0.0)[0] == pytest.approx([1 - 0.1 * 1.9 * 0.5])
    assert steps("adam", 1, decay=0.5, slope=0.0, start=-3.0)[0] == pytest.approx([-2.9], abs=1e-7)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_what_an_optimiser_remembers_is_known(name):
    optimiser = steps(name, 1)[1]
    assert set(optimiser.state_dict()["state"][0]) == STATE_OF[type(optimiser)]


def test_an_unknown_optimiser_is_refused_with_the_nearest_name():
    with pytest.raises(StudyError, match="optimiser = 'adamw'; expected 'adam' or 'sgd'; did you mean 'adam'"):
        optimiser_of("adamw", [nn.Parameter(torch.zeros(1))], learning_rate=0.1)


def test_the_learning_rate_rises_and_falls():
    rates = [one_cycle(step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[20] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.0)
