"""Displacement: constructed ones are split as they were made, beside baselines whose expectation is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.displacement import Displacement, displacement, displacement_estimates
from manifoldscope.geometry.reference import exactly, gaussian, power_law_variances, rotation
from manifoldscope.geometry.spectrum import Spectrum

D = 12
OWN_AXES = 3


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(*, other_inside: float = 0.0, seed: int = 0) -> dict[str, torch.Tensor]:
    """A class that varies in its first three features, and another centroid along the fourth and first."""
    generator = seeded(seed)
    own = torch.zeros(10, D, dtype=torch.float64)
    own[:, :OWN_AXES] = exactly(10, [3.0, 2.0, 1.0], n_features=OWN_AXES, generator=generator)
    other = torch.zeros(1, D, dtype=torch.float64)
    other[0, 3], other[0, 0] = math.sqrt(1 - other_inside), math.sqrt(other_inside)
    return {"own": own, "other": 5 * other, "held_out": torch.randn(6, D, dtype=torch.float64, generator=generator)}


def shares(found: Displacement) -> list[float]:
    return [found.attacked.own.value, found.attacked.toward.value, found.attacked.outside.value]


def moved_by(steps: torch.Tensor, **points: Any) -> Displacement:
    clean = torch.randn(len(steps), D, dtype=torch.float64, generator=seeded(1))
    return displacement(clean, clean + steps, **points)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({0: 1.0, 2: -4.0}, [1, 0, 0]),
        ({3: 2.0}, [0, 1, 0]),
        ({3: -2.0}, [0, 1, 0]),
        ({7: 1.0, 11: 1.0}, [0, 0, 1]),
        ({1: 1.0, 3: 2.0, 9: 3.0}, [1 / 14, 4 / 14, 9 / 14]),
    ],
    ids=["inside", "toward", "away", "outside", "mixture"],
)
def test_a_displacement_is_split_as_it_was_made(step: dict[int, float], expected: list[float]) -> None:
    steps = torch.zeros(4, D, dtype=torch.float64)
    for feature, length in step.items():
        steps[:, feature] = length
    found = moved_by(steps, **scene())
    size = math.hypot(*step.values())
    assert found.n_axes == OWN_AXES
    assert shares(found) == pytest.approx(expected, abs=1e-9)
    assert found.size.value == pytest.approx(size)
    assert found.relative_size.value == pytest.approx(size / math.sqrt(6))  # variances 3 + 2 + 1
    assert found.cosine.value == pytest.approx(step.get(3, 0.0) / size, abs=1e-9)
    assert found.attacked.own.stderr == pytest.approx(0, abs=1e-9)


def test_what_the_direction_to_the_other_has_inside_the_subspace_counts_as_own() -> None:
    points = scene(other_inside=0.36)
    found = moved_by(points["other"], **points)
    assert found.direction_inside == pytest.approx(0.36)
    assert shares(found) == pytest.approx([0.36, 0.64, 0], abs=1e-9)
    assert found.cosine.value == pytest.approx(1)
    inside = moved_by(points["other"], **scene(other_inside=1.0))
    assert shares(inside) == pytest.approx([0.36, 0, 0.64], abs=1e-9)
    assert "lies inside the own subspace" in inside.note
    assert inside.random.toward.value == 0


def test_means_and_standard_errors_are_over_images() -> None:
    steps = torch.zeros(2, D, dtype=torch.float64)
    steps[0, 0], steps[1, 3], steps[1, 5] = 1.0, 3.0, 4.0
    found = moved_by(steps, **scene())
    assert shares(found) == pytest.approx([1 / 2, 9 / 50, 16 / 50])  # each image counts once, whatever its length
    assert found.attacked.own.stderr == pytest.approx(0.5)  # sqrt(1/2) over sqrt(2)
    assert (found.size.value, found.size.stderr) == pytest.approx((3, 2))
    assert moved_by(steps[:1], **scene()).size.stderr is None


@given(seed=st.integers(0, 500), fraction=st.sampled_from([0.5, 0.95, 1.0]), inside=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_shares_add_up_and_rotation_shift_scale_and_padding_leave_them(
    seed: int, fraction: float, inside: float
) -> None:
    points = scene(other_inside=inside, seed=seed)
    clean, adversarial = torch.randn(2, 5, D, dtype=torch.float64, generator=seeded(seed + 1))
    turn = rotation(D, generator=seeded(seed + 2))

    def moved(matrix: torch.Tensor) -> torch.Tensor:
        return torch.cat([3 * matrix @ turn + 7, torch.zeros(len(matrix), 2, dtype=torch.float64)], 1)

    before = displacement(clean, adversarial, **points, fraction=fraction)
    after = displacement(
        moved(clean), moved(adversarial), **{k: moved(v) for k, v in points.items()}, fraction=fraction
    )
    for found in (before, after):
        for split in (found.attacked, found.held_out, found.random):
            parts = [split.own.value, split.toward.value, split.outside.value]
            assert sum(parts) == pytest.approx(1)
            assert min(parts) >= -1e-12
    assert shares(after) == pytest.approx(shares(before), abs=1e-6)
    assert after.size.value == pytest.approx(3 * before.size.value)
    assert after.relative_size.value == pytest.approx(before.relative_size.value)
    assert after.cosine.value == pytest.approx(before.cosine.value, abs=1e-6)


def test_blocks_of_features_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = torch.randn(4, D, dtype=torch.float64, generator=seeded(5))
    points = {**scene(), "layer": torch.randn(8, D, generator=seeded(6))}
    whole = moved_by(steps, **points, generator=seeded(7))
    monkeypatch.setattr("manifoldscope.geometry.moments._BLOCK_ELEMENTS", 37)
    again = moved_by(steps, **points, generator=seeded(7))
    assert shares(again) == pytest.approx(shares(whole))
    assert again.layer.own.value == pytest.approx(whole.layer.own.value)


# -- baselines ---------------------------------------------------------------------------------------------------------


def test_uniform_directions_show_what_is_expected_of_them() -> None:
    points = scene(other_inside=0.5)
    steps = torch.randn(20_000, D, dtype=torch.float64, generator=seeded(2))
    found = moved_by(steps, **points)
    assert [found.random.own.value, found.random.toward.value] == pytest.approx([OWN_AXES / D, 1 / D])
    for measured, expected in (
        (found.attacked.own, found.random.own),
        (found.attacked.toward, found.random.toward),
        (found.attacked.outside, found.random.outside),
    ):
        assert measured.value == pytest.approx(expected.value, abs=4 * measured.stderr)
        assert measured.stderr < 0.003
    assert found.cosine.value == pytest.approx(0, abs=4 * found.cosine.stderr)


def test_a_subspace_from_few_images_holds_far_less_of_held_out_ones() -> None:
    """What a 95% subspace of 50 points of a Gaussian with a flat spectrum holds of new points: k / D, not 95%."""
    generator = seeded(3)
    own, held_out, clean = (gaussian(50, torch.ones(400), generator=generator) for _ in range(3))
    other = torch.full((1, 400), 2.0)
    found = displacement(clean, clean + held_out, own=own, other=other, held_out=held_out)
    k = Spectrum.of(own).dimension(0.95)
    assert found.n_axes == k
    # held-out deviations are from a centroid that is itself off by 1/50 of the variance, inside the subspace to a part
    assert found.held_out.own.value == pytest.approx(k / 400, abs=0.02)
    # displacements of the same law have the same share: the attack is no more inside than a held-out image
    assert found.attacked.own.value == pytest.approx(found.held_out.own.value, abs=0.02)
    assert found.held_out.n == 50


def test_directions_with_the_covariance_of_the_layer_follow_it() -> None:
    """A layer that varies like the class: its directions lie inside as held-out images do, far above k / D."""
    variances = power_law_variances(300, 1.5)
    generator = seeded(4)
    own, held_out, layer = (gaussian(n, variances, generator=generator) for n in (60, 200, 400))
    other = 3 * torch.eye(300)[-1:]
    found = displacement(
        held_out, layer[:200], own=own, other=other, held_out=held_out, layer=layer, generator=seeded(5)
    )
    assert found.layer is not None
    assert found.layer.n == 1000
    # one standard error of each is about 0.01
    assert found.layer.own.value == pytest.approx(found.held_out.own.value, abs=0.04)
    assert found.layer.own.value > 3 * found.random.own.value
    again = displacement(
        held_out, layer[:200], own=own, other=other, held_out=held_out, layer=layer, generator=seeded(5)
    )
    assert again == found


# -- estimates, and what has no answer ---------------------------------------------------------------------------------


def test_estimates_have_a_name_for_each_quantity_and_baseline() -> None:
    steps = torch.randn(4, D, dtype=torch.float64, generator=seeded(5))
    clean = torch.randn(4, D, dtype=torch.float64, generator=seeded(1))
    points = scene()
    layer = torch.randn(8, D, generator=seeded(6))
    estimates = displacement_estimates(clean, clean + steps, **points, layer=layer, n_random=50, generator=seeded(7))
    found = displacement(clean, clean + steps, **points, layer=layer, n_random=50, generator=seeded(7))
    parts = [f"displacement_{part}" for part in ("own", "toward", "outside")]
    assert set(estimates) == {
        "displacement",
        "displacement_relative",
        "displacement_cosine",
        "displacement_direction_inside",
        *parts,
    } | {f"{part}{suffix}" for part in parts for suffix in ("_held_out", "_random", "_layer")}
    assert estimates["displacement"].value == found.size.value
    assert estimates["displacement_toward"].value == found.attacked.toward.value
    assert estimates["displacement_own_held_out"].n_points == 6
    assert estimates["displacement_own_random"].stderr is None
    assert dict(estimates["displacement_outside_layer"].parameters) == {"fraction": 0.95, "n_random": 50}
    assert not any("_layer" in name for name in displacement_estimates(clean, clean + steps, **points))


def test_images_that_did_not_move_have_no_share() -> None:
    points = scene()
    clean = torch.randn(3, D, generator=seeded(1))
    steps = torch.zeros(3, D)
    steps[0, 0] = 1.0
    some = displacement(clean, clean + steps, **points)
    assert (some.n_moved, some.attacked.n) == (1, 1)
    assert shares(some) == pytest.approx([1, 0, 0], abs=1e-5)  # float32
    assert some.size.value == pytest.approx(1, rel=1e-5)
    assert "2 of 3 images did not move" in some.note
    none = displacement_estimates(clean, clean * (1 + 1e-7), **points)  # rounding is no displacement
    assert none["displacement"].value == 0
    assert math.isnan(none["displacement_own"].value)
    assert none["displacement_own"].note == "no image moved"


def test_degenerate_classes_have_a_named_outcome() -> None:
    points = scene()
    steps = torch.eye(4, D, dtype=torch.float64)
    same_centre = moved_by(steps, **{**points, "other": points["own"]})
    assert "the same centroid" in same_centre.note
    assert math.isnan(same_centre.cosine.value)
    assert same_centre.attacked.toward.value == 0
    constant = moved_by(steps, **{**points, "own": torch.ones(5, D)})
    assert (constant.n_axes, constant.attacked.own.value) == (0, 0)
    assert math.isnan(constant.relative_size.value)
    assert "no subspace and no radius" in constant.note
    own = points["own"]
    reused = moved_by(steps, **{**points, "held_out": torch.cat([points["held_out"], own[:2]])})
    assert "2 of 8 held_out points are also in own" in reused.note
    estimates = displacement_estimates(own[:3], own[:3] + 1, own=own, other=points["other"], held_out=own.mean(0)[None])
    assert "3 of 3 clean points are also in own" in estimates["displacement"].note
    whole = displacement_estimates(
        *2 * [torch.ones(2, 1)], own=torch.tensor([[0.0], [2]]), other=torch.ones(1, 1), held_out=torch.ones(1, 1)
    )
    assert all(math.isfinite(estimate.value) or estimate.note for estimate in whole.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clean": torch.ones(3, D)}, "3 clean and 4 adversarial points; expected the same images"),
        ({"other": torch.ones(1, 5)}, "other 5.*expected activations of one layer"),
        ({"own": torch.ones(1, D)}, "'own' has no variance; give at least 2 images"),
        ({"fraction": 1.5}, "fraction = 1.5"),
        ({"layer": torch.ones(3, D)}, "need a generator"),
        ({"layer": torch.ones(1, D), "generator": seeded(0)}, "'layer' has no variance"),
        ({"held_out": torch.full((2, D), math.nan)}, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    given_points = {"clean": torch.zeros(4, D), "adversarial": torch.ones(4, D), **scene(), **change}
    with pytest.raises(GeometryError, match=words):
        displacement(**given_points)
