"""Replayed gradients: those of the module, or the module itself where a recording would not serve.

CUDA graphs need a GPU (tests/test_gpu.py). Here a recording is played by `Tape`, which has what is treacherous of them:
it does what the module did when it was recorded, and writes into the same memory each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.vision import recorded as recorded_module
from manifoldscope.vision.fast import faster
from manifoldscope.vision.recorded import OFTEN, Recorded
from tests.attacks.networks import fitted, images


class Tape:
    """Plays what a module does with tensors that stay where they are."""

    def __init__(self, call: Callable[[Tensor], Tensor], sample: Tensor, memory: Any) -> None:
        self.call, self.inputs = call, sample
        self.output, self.gradient = call(sample).detach().clone(), torch.zeros_like(sample)
        self.replays = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        assert inputs.shape == self.inputs.shape
        found: Tensor = _Replayed.apply(inputs, self)
        return found


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, tape: Tape) -> Tensor:
        ctx.tape = tape
        tape.replays += 1
        tape.inputs.data.copy_(inputs)
        with torch.enable_grad():
            tape.live = tape.call(tape.inputs)
        return tape.output.copy_(tape.live.detach()).detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (found,) = torch.autograd.grad(ctx.tape.live, ctx.tape.inputs, grad)
        return ctx.tape.gradient.copy_(found).detach(), None


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """What was recorded; each recording counts as quick enough."""
    made: list[Tape] = []

    def record(call: Callable[[Tensor], Tensor], sample: Tensor, memory: Any) -> Tape:
        made.append(Tape(call, sample, memory))
        return made[-1]

    on_this_cpu(monkeypatch)
    monkeypatch.setattr(recorded_module, "recorded", record)
    monkeypatch.setattr(recorded_module, "SOONER", float("inf"))
    return made


def on_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU whose memory is shared, or who could be waited for."""
    monkeypatch.setattr(Recorded, "_pool", lambda self: None)
    monkeypatch.setattr(recorded_module, "_without_waiting", recorded_module._of_two)


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3))


def inputs(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def gradient(call: Callable[[Tensor], Tensor], given: Tensor) -> tuple[Tensor, Tensor]:
    leaf = given.clone().requires_grad_(True)
    output = call(leaf)
    return output.detach(), torch.autograd.grad(output.square().sum(), leaf)[0]


def test_a_shape_that_comes_often_is_replayed_and_gives_the_same(tapes: list[Tape]) -> None:
    own = module()
    replaying = Recorded(own)
    kept = []
    for turn in range(2 * OFTEN):
        for n in (5, 3):
            kept.append((gradient(replaying, inputs(n, turn))[0], gradient(own, inputs(n, turn))[0]))
            for found, expected in zip(
                gradient(replaying, inputs(n, turn)), gradient(own, inputs(n, turn)), strict=True
            ):
                torch.testing.assert_close(found, expected)
    assert len(tapes) == 2
    assert all(tape.replays > OFTEN for tape in tapes)
    for found, expected in kept:  # no later replay has written over what an earlier one gave
        torch.testing.assert_close(found, expected)


def test_without_a_gradient_the_module_itself_is_asked(tapes: list[Tape]) -> None:
    replaying = Recorded(module())
    for _ in range(2 * OFTEN):
        replaying(inputs(4))
        with torch.no_grad():
            replaying(inputs(4).requires_grad_(True))
    assert not tapes


def test_a_recording_that_took_another_way_than_the_module_is_not_used(tapes: list[Tape], monkeypatch) -> None:
    """Python decides once, when it is recorded, what a module does on a condition."""
    record = recorded_module.recorded
    monkeypatch.setattr(recorded_module, "recorded", lambda call, *rest: record(lambda x: -call(x), *rest))
    own = module()
    replaying = Recorded(own)
    for turn in range(2 * OFTEN):
        torch.testing.assert_close(gradient(replaying, inputs(4, turn)), gradient(own, inputs(4, turn)))
    assert len(tapes) == 1


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), MemoryError()])
def test_what_cannot_be_recorded_goes_as_it_is_and_no_other_is_tried(monkeypatch, error: Exception) -> None:
    tried = []

    def record(call: Callable[[Tensor], Tensor], sample: Tensor, memory: Any) -> Tape:
        tried.append(len(sample))
        raise error

    on_this_cpu(monkeypatch)
    monkeypatch.setattr(recorded_module, "recorded", record)
    own = module()
    replaying = Recorded(own)
    for turn in range(2 * OFTEN):
        for n in (4, 3):
            torch.testing.assert_close(gradient(replaying, inputs(n, turn)), gradient(own, inputs(n, turn)))
    assert tried == [4]


def test_where_memory_runs_out_recordings_give_theirs_back(tapes: list[Tape]) -> None:
    own = module()
    replaying = Recorded(own)
    for _ in range(2 * OFTEN):
        gradient(replaying, inputs(4))
    assert replaying._recordings
    replaying.module = Full()
    with pytest.raises(torch.OutOfMemoryError):
        replaying(inputs(64))
    replaying.module = own
    for turn in range(2 * OFTEN):
        torch.testing.assert_close(gradient(replaying, inputs(3, turn)), gradient(own, inputs(3, turn)))
    assert not replaying._recordings
    assert len(tapes) == 1


class Full(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError


def test_a_gradient_is_not_written_over_by_the_next(tapes: list[Tape]) -> None:
    own = module()
    replaying = Recorded(own)
    pairs = [(gradient(replaying, inputs(4, turn))[1], gradient(own, inputs(4, turn))[1]) for turn in range(3 * OFTEN)]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)
    assert tapes[0].replays > OFTEN


def test_a_recording_that_is_not_sooner_is_not_used(tapes: list[Tape], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_module, "SOONER", 0.0)
    replaying = Recorded(module())
    for _ in range(2 * OFTEN):
        gradient(replaying, inputs(4))
    assert [tape.replays for tape in tapes] == [3]  # those of the stopwatch


@pytest.mark.parametrize("propose", [False, True])
def test_outcomes_of_replayed_gradients_are_those_of_the_others(
    tapes: list[Tape], propose: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = images(96)
    network = fitted(sample)
    plain = faster(network, network.pixels(sample)[:8], propose=propose)
    replaying = faster(network, network.pixels(sample)[:8], propose=propose, replay=True)
    attack = PGD(epsilon=0.12, steps=6)
    found, expected = (
        evaluate(network, sample, attack, iterate="any", batch_size=16, fast=fast) for fast in (replaying, plain)
    )
    assert found.table.equals(expected.table)
    assert found.fast is not None
    assert "CUDA graphs where faster" in found.fast.means
    assert sum(tape.replays for tape in tapes) > 20
    assert 0 < found.robust_accuracy_any < 1
