"""Streams of random numbers, by name."""

from __future__ import annotations

import torch

from manifoldscope.seeds import derive, generator, numpy_generator


def test_a_stream_depends_on_its_seed_and_names_alone():
    assert derive(0, "draw", 3) == derive(0, "draw", 3) == 2685490307535328072
    assert len({derive(0, "a", "b"), derive(0, "ab"), derive(0, "a"), derive(1, "a"), derive(0, "b", "a")}) == 5


def test_generators_repeat_themselves():
    assert torch.equal(torch.rand(3, generator=generator(1, "x")), torch.rand(3, generator=generator(1, "x")))
    assert numpy_generator(1, "x").random() == numpy_generator(1, "x").random()
