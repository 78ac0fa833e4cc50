"""What every registered measure keeps to, and the notes that go with a value."""

from __future__ import annotations

import doctest
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import manifoldscope.geometry
from manifoldscope.errors import GeometryError, ManifoldscopeError, StudyError
from manifoldscope.geometry import (
    INVARIANCES,
    MEASURES,
    NEAR_CEILING,
    ClassManifold,
    Cloud,
    Clouds,
    Estimate,
    JointEstimate,
    Spectrum,
    curve,
    feature_correlation,
    gaussian_null,
    measure,
    measure_at,
    shuffled_labels,
)
from manifoldscope.geometry.measures import refuse_settings
from manifoldscope.geometry.reference import gaussian, geometric_variances, rotation

MODULES = sorted(module.name for module in pkgutil.iter_modules(manifoldscope.geometry.__path__))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"manifoldscope.geometry.{module}"))
    assert result.attempted or module == "__init__"
    assert not result.failed


def estimates(name: str, clouds: list[torch.Tensor], **settings: Any) -> list[Estimate]:
    """What a measure says of these classes: one by one, or together where it compares classes."""
    if MEASURES[name].traits["reads"] != "clouds":
        return [measure(name, cloud, **settings) for cloud in clouds]
    joint = measure(name, clouds, **settings)
    return [*([joint.whole] if joint.whole else []), *joint.classes, *joint.pairs.values()]


def three(n_points: int, n_features: int) -> list[torch.Tensor]:
    return [
        gaussian(n_points, geometric_variances(n_features, 0.8), generator=seeded(place))
        + 2 * torch.randn(n_features, generator=seeded(10 + place))
        for place in range(3)
    ]


def ordered(clouds: list[torch.Tensor], generator: torch.Generator) -> list[torch.Tensor]:
    return [cloud[torch.randperm(len(cloud), generator=generator)] for cloud in clouds]


MOVES: dict[str, Callable[[list[torch.Tensor]], list[torch.Tensor]]] = {
    "rotation": lambda clouds: [cloud @ rotation(cloud.shape[1], generator=seeded(1)) for cloud in clouds],
    "shift": lambda clouds: [cloud + 3 * torch.arange(cloud.shape[1]) for cloud in clouds],
    "scale": lambda clouds: [7 * cloud for cloud in clouds],
    "order": lambda clouds: ordered(clouds, seeded(2)),
    "padding": lambda clouds: [torch.cat([cloud, torch.zeros(len(cloud), 2)], 1) for cloud in clouds],
}

DEGENERATE = {
    "constant": [torch.ones(5, 3), torch.zeros(5, 3)],
    "two points": [torch.eye(2), torch.eye(2) + 5],
    "duplicates": [torch.eye(3).repeat(2, 1), torch.eye(3).repeat(3, 1) - 4],
    "all classes equal": [torch.randn(9, 4, generator=seeded(1))] * 3,
    "one varies": [torch.randn(9, 4, generator=seeded(1)), torch.ones(9, 4)],
    "one feature": [torch.randn(9, 1, generator=seeded(1)), torch.randn(9, 1, generator=seeded(2))],
    "ordinary": three(30, 4),
}


@pytest.mark.parametrize("name", MEASURES.names())
class TestEveryMeasure:
    def test_is_documented_with_an_example(self, name: str) -> None:
        text = inspect.getdoc(MEASURES[name].target) or ""
        assert MEASURES[name].summary.endswith(".")
        for part in ("Args:", "References:", "Example:", ">>>"):
            assert part in text
        assert MEASURES[name].traits["reads"] in ("spectrum", "cloud", "clouds")
        assert set(MEASURES[name].traits["invariant_to"]) <= set(INVARIANCES)

    @pytest.mark.parametrize("shape", [(12, 30), (40, 8)])
    @pytest.mark.parametrize("move", INVARIANCES)
    def test_is_invariant_to_what_it_claims(self, name: str, move: str, shape: tuple[int, int]) -> None:
        if move not in MEASURES[name].traits["invariant_to"]:
            return
        clouds = three(*shape)
        before, after = estimates(name, clouds), estimates(name, MOVES[move](clouds))
        # random directions are drawn anew in rotated coordinates: such a measure gives its own standard error
        for first, second in zip(before, after, strict=True):
            assert second.value == pytest.approx(first.value, rel=1e-6, abs=1e-9, nan_ok=True)

    @pytest.mark.parametrize("case", DEGENERATE)
    def test_is_finite_or_says_why_and_keeps_its_ceiling(self, name: str, case: str) -> None:
        clouds = DEGENERATE[case]
        try:
            found = estimates(name, clouds)
        except GeometryError:  # a named outcome; the tests of the measure look at its words
            return
        for estimate in found:
            assert math.isfinite(estimate.value) or estimate.note
            assert estimate.n_features == clouds[0].shape[1]
            if estimate.ceiling is not None and math.isfinite(estimate.value):
                assert estimate.value <= estimate.ceiling * (1 + 1e-9)

    def test_is_a_function_of_its_name_that_measures_as_measure_does(self, name: str) -> None:
        function = getattr(manifoldscope.geometry, name)
        assert name in manifoldscope.geometry.__all__
        assert list(inspect.signature(function).parameters)[1:] == list(MEASURES[name].settings.model_fields)
        assert inspect.getdoc(function) == inspect.getdoc(MEASURES[name].target)
        clouds = three(20, 4)
        together = measure(name, clouds)
        for manifolds in (clouds, [Cloud(cloud) for cloud in clouds], Clouds(clouds), [*map(ClassManifold, clouds)]):
            assert repr(function(manifolds)) == repr(together)  # a value may be NaN, which equals nothing
        if MEASURES[name].traits["reads"] != "clouds":
            for points in (clouds[0], clouds[0].numpy(), ClassManifold(clouds[0]), Cloud(clouds[0])):
                assert function(points) == measure(name, clouds[0]) == together.classes[0]
        scaled = [Cloud(cloud, scaling="standardise") for cloud in clouds]
        assert function(scaled) == measure(name, clouds, scaling="standardise")
        with pytest.raises(StudyError, match="there is no setting 'sead'"):
            function(clouds, sead=1)

    def test_an_ordinary_class_has_a_value(self, name: str) -> None:
        apart = [torch.randn(1, 60, generator=seeded(20 + place)) for place in range(6)]
        clouds = [3 * centroid + torch.randn(20, 60, generator=seeded(place)) for place, centroid in enumerate(apart)]
        assert all(math.isfinite(estimate.value) for estimate in estimates(name, clouds))

    def test_takes_float32_and_numpy(self, name: str) -> None:
        clouds = three(30, 12)
        expected = estimates(name, clouds)
        for same in ([cloud.float() for cloud in clouds], [cloud.numpy() for cloud in clouds]):
            for found, value in zip(estimates(name, same), expected, strict=True):
                assert found.value == pytest.approx(value.value, rel=1e-3)  # seven digits, fewer where near-ties turn

    @pytest.mark.parametrize(
        ("points", "words"),
        [
            (torch.ones(1, 3), "2 images"),
            (torch.full((4, 3), torch.nan), "NaN or infinity"),
            (torch.full((4, 3), torch.inf), "NaN or infinity"),
            (torch.zeros(4, 0), "at least one point and one feature"),
        ],
        ids=["one point", "NaN", "infinity", "no features"],
    )
    def test_refuses_what_cannot_be_measured(self, name: str, points: torch.Tensor, words: str) -> None:
        with pytest.raises(GeometryError, match=words):
            estimates(name, [points, points])

    def test_records_its_parameters_and_a_scaling(self, name: str) -> None:
        clouds = three(20, 4)
        for plain, scaled in zip(estimates(name, clouds), estimates(name, clouds, scaling="standardise"), strict=True):
            assert set(plain.parameters) == set(MEASURES[name].settings.model_fields)
            assert dict(scaled.parameters) == {**plain.parameters, "scaling": "standardise"}


def test_points_manifold_and_spectrum_give_the_same_estimate() -> None:
    points = torch.randn(20, 50, generator=seeded(4))
    spectrum = Spectrum.of(points, scaling="standardise")
    expected = measure("pca_dimension", points, scaling="standardise", fraction=0.5)
    assert measure("pca_dimension", ClassManifold(points), scaling="standardise", fraction=0.5) == expected
    assert measure("pca_dimension", spectrum, fraction=0.5) == expected
    with pytest.raises(GeometryError, match="scaling"):
        measure("pca_dimension", Spectrum.of(points), scaling="standardise")


@pytest.mark.parametrize("name", MEASURES.names())
def test_every_setting_goes_through_curves_and_nulls(name: str) -> None:
    entry = MEASURES[name]
    settings = {each: field.default for each, field in entry.settings.model_fields.items()}
    clouds = [cloud_at(shift) for shift in range(2)]
    drawing = torch.Generator().manual_seed(0)
    if entry.traits["reads"] == "clouds":
        settings |= {few: 4 for few in ("directions", "dichotomies") if few in settings}
        null = shuffled_labels(name, clouds, draws=2, generator=drawing, **settings)
        assert len(null.classes) == 2 or null.pairs or null.whole is not None
    else:
        assert gaussian_null(name, clouds[0], draws=2, generator=drawing, **settings)
        assert curve(name, clouds[0], sizes=[20], draws=2, generator=drawing, **settings)


def test_a_measure_takes_no_setting_that_curves_and_nulls_have() -> None:
    with pytest.raises(ManifoldscopeError, match=r"has a parameter .draws., by which curves and nulls"):

        @MEASURES.of_cloud("drawn", invariant_to=())
        def drawn(cloud, *, draws: int = 3) -> float:
            return 0.0


@pytest.mark.parametrize("name", MEASURES.names())
def test_no_measure_refuses_what_it_takes_by_default_or_more_neighbours_than_there_are_points(name: str) -> None:
    settings = {each: field.default for each, field in MEASURES[name].settings.model_fields.items()}
    refuse_settings(name, settings)
    for neighbours in {"n_neighbours", "n1"} & settings.keys():
        refuse_settings(name, {**settings, neighbours: 5000})


def test_a_measure_of_ones_own_that_needs_more_points_by_default_is_not_tried() -> None:
    try:

        @MEASURES.of_cloud("demanding", invariant_to=())
        def demanding(cloud: Cloud, *, least: int = 1000) -> float:
            if cloud.n_points < least:
                raise GeometryError(f"{cloud.n_points} points; expected at least {least}")
            return 1.0

        refuse_settings("demanding", {"least": 2000})
    finally:
        MEASURES.forget(__name__)


def cloud_at(shift: int) -> torch.Tensor:
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(shift)) + shift


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(StudyError, match="pca_dimension"):
        measure("pca_dimensions", torch.eye(3))
    with pytest.raises(StudyError, match="fraction"):
        measure("pca_dimension", torch.eye(3), fractions=0.9)


def test_a_value_near_its_ceiling_is_noted() -> None:
    sampled = measure("pca_dimension", gaussian(50, torch.ones(2048), generator=seeded(5)))
    assert sampled.ceiling == 47
    assert "the most that 50 points can show: it describes the sample" in sampled.note
    wide = measure("pca_dimension", gaussian(400, torch.ones(4), generator=seeded(5)))
    assert "the most that 4 features can show: it describes the width of the layer" in wide.note
    low = measure("pca_dimension", gaussian(400, geometric_variances(40, 0.5), generator=seeded(5)))
    assert low.value < NEAR_CEILING * low.ceiling
    assert not low.note


def test_the_note_of_a_ceiling_says_what_sets_it() -> None:
    few = measure("rankme", gaussian(10, torch.ones(50), generator=seeded(5)))
    assert few.ceiling == 10
    assert "the most that 10 points can show: it describes the sample" in few.note
    points = gaussian(300, torch.ones(200), generator=seeded(5))
    around = measure("local_pca", points, n_neighbours=30)
    assert around.ceiling == 29
    assert "the most that neighbourhoods of this size can show: it describes their size" in around.note
    assert "the most that 25 points can show" in measure("local_pca", points[:25], n_neighbours=30, fraction=1.0).note
    narrow = measure_at("pca_dimension", points[:, :4], n_points=50, generator=seeded(6))
    assert "the most that 4 features can show" in narrow.note


def test_a_constant_class_is_noted_once() -> None:
    assert measure("pca_dimension", torch.ones(5, 3)).note.startswith("all points are the same")


def test_a_nan_needs_a_reason() -> None:
    with pytest.raises(GeometryError, match="without a note"):
        Estimate(math.nan, n_points=3, n_features=3)


def test_feature_correlation_matches_numpy_and_its_chance_level() -> None:
    points = gaussian(50, torch.ones(300), generator=seeded(10))
    points[:, 7] = 4.0
    result = feature_correlation(points)
    expected = torch.corrcoef(points[:, result.features].T)
    assert torch.allclose(result.matrix, expected)
    assert result.n_constant == 1
    assert 7 not in result.features
    assert result.chance == pytest.approx(math.sqrt(2 / (math.pi * 49)), rel=0.01)  # its large-sample form
    assert result.mean_absolute == pytest.approx(result.chance, rel=0.03)  # 44,551 pairs
    assert feature_correlation(points, n_features=10, generator=seeded(0)).matrix.shape == (10, 10)


def test_feature_correlation_of_a_constant_class_says_why_there_is_none() -> None:
    result = feature_correlation(torch.ones(5, 4))
    assert result.matrix.shape == (0, 0)
    assert math.isnan(result.mean_absolute)
    assert "0 of 4 features vary" in result.note
    with pytest.raises(GeometryError, match="2 images"):
        feature_correlation(torch.ones(1, 4))


def test_clouds_of_two_scalings_are_no_layer() -> None:
    clouds = [Cloud(torch.eye(3)), Cloud(torch.eye(3), scaling="standardise")]
    with pytest.raises(GeometryError, match="expected one"):
        measure("centroid_distance", clouds)
    with pytest.raises(GeometryError, match="read with scaling 'none', not 'standardise'"):
        measure("two_nn", clouds[:1], scaling="standardise")


def test_estimates_show_themselves_shortly() -> None:
    plain = Estimate(12.0, n_points=50, n_features=2048)
    full = Estimate(3.14159, 1000, 9, ceiling=8.0, stderr=0.123, parameters={"method": "<fit>"}, note="of few & far")
    assert repr(plain) == "Estimate(12, 50 points, 2,048 features)"
    assert repr(full) == (
        "Estimate(3.142 ± 0.12, ceiling 8, 1,000 points, 9 features, method='<fit>', note: of few & far)"
    )
    assert plain._repr_html_() == (
        "<table><thead><tr><th>value</th><th>points</th><th>features</th></tr></thead>"
        "<tbody><tr><td>12</td><td>50</td><td>2,048</td></tr></tbody></table>"
    )
    assert "<td>method=&lt;fit&gt;</td><td>of few &amp; far</td>" in full._repr_html_()


def test_joint_estimates_show_as_much_as_there_is_room_for() -> None:
    values = [Estimate(float(value), 5, 3) for value in range(7)]
    pairs = {(i, j): values[j] for i in range(7) for j in range(i + 1, 7)}
    joint = JointEstimate(tuple(values), whole=values[3], pairs=pairs)
    assert repr(joint) == "JointEstimate(whole 3, 7 classes 0 to 6, 21 pairs 1 to 6)"
    assert repr(JointEstimate()) == "JointEstimate()"
    shown = joint._repr_html_()
    assert shown.count("<tr>") == 21  # a header, and 20 of 29
    assert "<td>classes 0 and 1</td><td>1</td>" in shown
    assert shown.endswith("<p>and 9 more</p>")


SHOWN = """
import numpy as np
import torch

import manifoldscope as ms
from manifoldscope.geometry import ClassManifold, Cloud, Clouds, Spectrum, capacity, pca_dimension, two_nn

points = torch.eye(5)
reveal_type(two_nn(points))  # Estimate
reveal_type(two_nn(np.eye(5), discard=0.2))  # Estimate
reveal_type(two_nn(ClassManifold(points), method="mle"))  # Estimate
reveal_type(ms.geometry.pca_dimension(Spectrum.of(points), fraction=0.5))  # Estimate
reveal_type(two_nn([points, Cloud(points)]))  # JointEstimate
reveal_type(pca_dimension(Clouds([points])))  # JointEstimate
reveal_type(capacity([points, points], directions=5))  # JointEstimate
two_nn(points, discart=0.2)  # error
two_nn(points, discard="0.2")  # error
two_nn(points, method="lme")  # error
two_nn(points, 0.2)  # error
two_nn(Spectrum.of(points))  # error
capacity(points)  # error
"""


def test_a_type_checker_knows_the_measures_and_their_settings(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="what a type checker sees needs mypy")
    (tmp_path / "shown.py").write_text(SHOWN)
    config = Path(__file__).parents[2] / "pyproject.toml"  # strict
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(Path(manifoldscope.__path__[0]).parent))
        said, trouble, _ = api.run(["--config-file", str(config), "--no-pretty", str(tmp_path / "shown.py")])
    assert not trouble
    found: dict[int, str] = {}
    for number, text in re.findall(r"shown\.py:(\d+): (?:note: Revealed type is .*?(\w+)\"|error)", said):
        found[int(number)] = text or "error"
    lines = SHOWN.splitlines()
    assert found == {at: line.split("# ")[1] for at, line in enumerate(lines, start=1) if "# " in line}
