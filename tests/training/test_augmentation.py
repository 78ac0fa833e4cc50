"""Augmented images are shifted and mirrored copies, the same ones for the same generator."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from manifoldscope.errors import StudyError
from manifoldscope.training.augmentation import LARGEST_SHIFT, augmented


def drawn(n=400, side=9, seed=0):
    pixels = torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(1))
    return pixels, augmented(pixels, "shift_flip", torch.Generator().manual_seed(seed))


def test_each_image_is_one_shift_of_itself_or_of_its_mirror_image_with_black_beside_it():
    pixels, found = drawn()
    assert found.shape == pixels.shape
    seen = set()
    for before, after in zip(pixels, found, strict=True):
        ways = {}
        for mirrored, down, right in itertools.product((False, True), *[range(2 * LARGEST_SHIFT + 1)] * 2):
            padded = F.pad(before, (LARGEST_SHIFT,) * 4)[:, down : down + 9, right : right + 9]
            ways[mirrored, down, right] = padded.flip(2) if mirrored else padded
        (way,) = (way for way, image in ways.items() if torch.equal(image, after))
        seen.add(way)
    assert {mirrored for mirrored, _, _ in seen} == {False, True}
    for axis in (1, 2):
        assert {way[axis] for way in seen} == set(range(2 * LARGEST_SHIFT + 1))


def test_half_of_the_images_are_mirrored_and_shifts_are_even():
    ramp = torch.arange(1, 10.0).expand(4000, 1, 9, 9)
    found = augmented(ramp, "shift_flip", torch.Generator().manual_seed(0))
    rising = (found.diff(dim=3) == 1).flatten(1).any(1).float().mean()
    assert abs(float(rising) - 0.5) < 0.03  # 3.8 standard errors
    shown = torch.ones(4000, 1, 9, 9)
    lost = (augmented(shown, "shift_flip", torch.Generator().manual_seed(0)).amax(3) == 0).sum(2).flatten().float()
    assert abs(float(lost.mean()) - 20 / 9) < 0.1  # |shift| is 0 once in nine, and 1 to 4 twice each


def test_the_same_generator_gives_the_same_images_in_whatever_batches():
    pixels, found = drawn()
    assert torch.equal(found, drawn()[1])
    assert not torch.equal(found, drawn(seed=1)[1])
    stream = torch.Generator().manual_seed(0)
    state = stream.get_state()
    assert augmented(pixels, "none", stream) is pixels
    assert torch.equal(stream.get_state(), state)


def test_pixels_stay_within_bounds_and_type():
    pixels, found = drawn()
    assert (found.dtype, found.device) == (pixels.dtype, pixels.device)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_an_unknown_augmentation_is_refused_with_the_nearest_name():
    with pytest.raises(StudyError, match=r"augment = 'shift'; expected .*; did you mean 'shift_flip'"):
        augmented(torch.zeros(1, 1, 8, 8), "shift", torch.Generator())
