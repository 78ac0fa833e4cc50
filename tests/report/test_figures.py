"""Figures: every class is drawn, ceilings stand where they are, and no shape of a study breaks them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CEILING, MODELS, N_POINTS, STRENGTHS, sampled_tables, study_pictures, study_tables
from manifoldscope.errors import ManifoldscopeError
from manifoldscope.evidence import mantel
from manifoldscope.report import (
    Chart,
    CorrelationPicture,
    ExamplePicture,
    SpectrumPicture,
    accuracy_by_strength,
    attacked_examples,
    class_pairs,
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_beside_accuracy,
    dimension_histograms,
    displacement_by_class,
    displacement_table,
    feature_correlations,
    network_comparison,
    pairs_beside_falls,
    reliability_by_measure,
    telling_displacement,
    telling_strengths,
    value_by_points,
    variance_spectra,
    words,
)
from manifoldscope.report.behind import association, mean_accuracy, square, wilson, with_attack
from manifoldscope.report.figures import MOST_TOOLTIPS
from manifoldscope.tables import conform


def beside(tables: dict[str, pl.DataFrame], layer: str = "penultimate") -> pl.DataFrame:
    return dimension_beside_accuracy(tables["geometry"], tables["robustness"], layer=layer)


def n_titles(chart: Chart) -> int:
    return chart.svg().count("<title>")


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return study_tables()


def test_the_central_picture_has_one_explained_point_for_each_class_and_network(
    tables: dict[str, pl.DataFrame],
) -> None:
    chart = dimension_against_accuracy(telling_strengths(beside(tables)), tables["associations"], models=MODELS)
    titles = [
        element.text or "" for element in ElementTree.fromstring(chart.svg()).iter() if element.tag.endswith("title")
    ]
    assert len(titles) == 3 * 10
    assert sorted(title.split(":")[0] for title in titles) == sorted([str(label) for label in range(10)] * 3)
    offsets = [len(collection.get_offsets()) for axes in chart.flat for collection in axes.collections]
    assert offsets.count(10) == 3


def test_points_stand_at_dimension_and_accuracy_and_are_explained_with_the_same_numbers() -> None:
    tables = study_tables(1, ("only",))
    table = telling_strengths(beside(tables)).filter(pl.col("model") == "natural")
    chart = dimension_against_accuracy(table)
    row = table.row(0, named=True)
    (point,) = (c for c in chart.flat[0].collections if len(c.get_offsets()) == 1 and c.get_gid())
    assert np.asarray(point.get_offsets()).tolist() == [[row["value"], row["accuracy"]]]
    (text,) = chart.tooltips[str(point.get_gid())]
    assert f"{row['n_survived']} of {row['n_images']}" in text


def test_every_strength_is_a_column_and_every_network_a_row(tables: dict[str, pl.DataFrame]) -> None:
    chart = dimension_against_accuracy_by_strength(beside(tables), tables["associations"], models=MODELS)
    assert (len(chart.panels), len(chart.panels[0])) == (3, len(STRENGTHS))
    assert n_titles(chart) == 3 * len(STRENGTHS) * 10


def test_the_coefficient_and_its_interval_stand_above_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    chart = dimension_against_accuracy(telling_strengths(beside(tables)), tables["associations"], models=MODELS)
    first = telling_strengths(beside(tables)).filter(pl.col("model") == "natural").row(0, named=True)
    row = association(
        tables["associations"],
        model="natural",
        layer="penultimate",
        measure="pca_dimension",
        parameters="fraction=0.95",
        attack="pgd",
        strength=first["strength"],
        iterate="last",
    )
    assert row is not None
    assert row["method"] == "pearson"
    texts = [text.get_text() for text in chart.flat[1].texts]
    expected = f"r = {words.coefficient(row['coefficient'])} (95% {words.coefficient(row['low'])}"
    assert any(expected in text for text in texts)
    assert any("undefined" in text.get_text() for text in chart.flat[0].texts)


def test_telling_strengths_are_nearest_to_one_half_and_never_zero_while_there_is_another() -> None:
    table = pl.DataFrame(
        {
            "model": ["a"] * 3 + ["b"] * 2 + ["c"],
            "strength": [0.0, 0.1, 0.2, 0.0, 0.3, 0.0],
            "accuracy": [0.5, 0.4, 0.9, 0.5, 0.0, 0.9],
        }
    )
    assert telling_strengths(table).select("model", "strength").rows() == [("a", 0.1), ("b", 0.3), ("c", 0.0)]


def test_a_near_ceiling_is_a_line_and_a_far_one_a_note(tables: dict[str, pl.DataFrame]) -> None:
    near = tables["geometry"].with_columns(pl.lit(40.0).alias("ceiling"))
    chart = dimension_histograms(near, layers=("flatten", "penultimate"))
    lines = [line for axes in chart.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert {float(np.asarray(line.get_xdata())[0]) for line in lines} == {40.0}
    assert len(lines) >= 3
    far = dimension_histograms(tables["geometry"].with_columns(pl.lit(900.0).alias("ceiling")))
    assert not [line for axes in far.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert all(any("ceiling 900 →" in text.get_text() for text in axes.texts) for axes in far.flat)


def test_points_at_the_ceiling_lie_inside_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    geometry = tables["geometry"].with_columns(pl.lit(CEILING).alias("value"))
    table = dimension_beside_accuracy(geometry, tables["robustness"], layer="flatten")
    chart = dimension_against_accuracy(telling_strengths(table))
    for axes in chart.flat:
        assert axes.get_xlim()[0] < CEILING < axes.get_xlim()[1]
        assert [line for line in axes.lines if line.get_label() == "ceiling"]


@pytest.mark.parametrize("n_classes", [1, 100, 1000])
def test_any_number_of_classes_is_drawn(n_classes: int) -> None:
    tables = study_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    geometry, robustness, associations = (tables[name] for name in ("geometry", "robustness", "associations"))
    table = beside(tables)
    assert n_titles(dimension_against_accuracy(telling_strengths(table), associations)) == 3 * n_classes
    crowded = 15 * n_classes > MOST_TOOLTIPS
    chart = dimension_against_accuracy_by_strength(table, associations)
    assert n_titles(chart) == (0 if crowded else 15 * n_classes)
    for other in (
        dimension_histograms(geometry),
        accuracy_by_strength(robustness),
        network_comparison(geometry, robustness),
        chart,
    ):
        assert len(other.svg()) < 2_500_000


def test_one_network_one_layer_and_many_networks_are_drawn(tables: dict[str, pl.DataFrame]) -> None:
    geometry, robustness = tables["geometry"], tables["robustness"]
    alone = pl.col("model") == "natural"
    few = geometry.filter(alone & (pl.col("layer") == "flatten"))
    many = [f"a network with a long name {place}" for place in range(9)]

    def repeat(table: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([table.filter(alone).with_columns(pl.lit(name).alias("model")) for name in many])

    for shape, attacked in ((few, robustness.filter(alone)), (repeat(geometry), repeat(robustness))):
        joined = dimension_beside_accuracy(shape, attacked, layer="flatten")
        for chart in (
            dimension_against_accuracy(telling_strengths(joined)),
            dimension_against_accuracy_by_strength(joined),
            dimension_histograms(shape),
            accuracy_by_strength(attacked),
            network_comparison(shape, attacked),
        ):
            assert chart.svg()


@pytest.mark.parametrize(
    "draw",
    [
        lambda geometry, robustness: dimension_against_accuracy(
            telling_strengths(dimension_beside_accuracy(geometry, robustness, layer="flatten"))
        ),
        lambda geometry, robustness: dimension_against_accuracy_by_strength(
            dimension_beside_accuracy(geometry, robustness, layer="flatten")
        ),
        lambda geometry, robustness: dimension_histograms(geometry),
        lambda geometry, robustness: accuracy_by_strength(robustness),
        lambda geometry, robustness: network_comparison(geometry, robustness),
    ],
)
def test_no_rows_and_no_numbers_give_a_figure_that_says_so(
    draw: Callable[[pl.DataFrame, pl.DataFrame], Chart], tables: dict[str, pl.DataFrame]
) -> None:
    empty = draw(conform("geometry", []), conform("robustness", []))
    nothing = pl.lit(float("nan"))
    blank = draw(
        tables["geometry"].with_columns(nothing.alias("value")),
        tables["robustness"].with_columns(nothing.alias("accuracy")),
    )
    for chart in (empty, blank):
        assert any("no " in text.get_text() for text in chart.flat[0].texts)


@pytest.fixture(scope="module")
def sampled() -> dict[str, pl.DataFrame]:
    return sampled_tables()


def beside_falls(tables: dict[str, pl.DataFrame], measure: str = "centre_correlation") -> pl.DataFrame:
    parameters = "" if measure == "centre_correlation" else "unit=feature corrected=false"
    return pairs_beside_falls(
        *(tables[name] for name in ("pairs", "verdicts", "robustness")),
        layer="flatten",
        measure=measure,
        parameters=parameters,
    )


def moved(tables: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    every = displacement_table(tables["geometry"], layer="flatten", threat="pgd")
    return telling_displacement(every, tables["robustness"], threat="pgd", iterate="last"), every


def test_each_ordered_pair_has_its_value_and_the_falls_of_its_network_at_one_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    table = beside_falls(sampled)
    assert table.height == 3 * 10 * 9
    panel = table.filter(pl.col("model") == "natural")
    (strength,) = panel["strength"].unique()
    fallen = sampled["verdicts"].filter(
        (pl.col("model") == "natural")
        & (pl.col("strength") == strength)
        & (pl.col("clean_prediction") == pl.col("label"))
        & (pl.col("last_prediction") != pl.col("label"))
    )
    assert panel["n_into"].sum() == fallen.height > 0
    assert panel.group_by("class_index").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1.0] * 10)
    _, values = square(panel, "value")
    assert np.array_equal(values, values.T, equal_nan=True)


def test_a_matrix_shows_each_pair_at_its_names_and_near_classes_together(sampled: dict[str, pl.DataFrame]) -> None:
    table = beside_falls(sampled, "centre_distance").filter(pl.col("model") == "natural")
    values = {
        (row["class_name"], row["other_class_name"]): float(row["class_name"] < "5") + (row["other_class_name"] < "5")
        for row in table.iter_rows(named=True)
    }
    two_groups = table.with_columns(
        pl.Series("value", [1.0 if value == 1 else 0.1 for value in values.values()], dtype=pl.Float64)
    )
    chart = class_pairs(two_groups, measure="centre_distance")
    names = [text.get_text() for text in chart.flat[0].get_xticklabels()]
    assert names == [text.get_text() for text in chart.flat[0].get_yticklabels()]
    assert len({name < "5" for name in names[:5]}) == len({name < "5" for name in names[5:]}) == 1
    assert sorted(names) == [str(label) for label in range(10)]
    drawn = np.ma.filled(chart.flat[0].images[0].get_array(), np.nan)
    for i, j in ((0, 1), (0, 9), (7, 2)):
        assert drawn[i, j] == (1.0 if (names[i] < "5") != (names[j] < "5") else 0.1)
    assert np.isnan(np.diag(drawn)).all()


def test_falls_stand_at_value_and_share_with_their_coefficient_unless_the_network_guesses(
    sampled: dict[str, pl.DataFrame],
) -> None:
    table = beside_falls(sampled).filter(pl.col("model") != "random")
    panel = table.filter(pl.col("model") == "natural")
    found = mantel(*(square(panel, column)[1] for column in ("share", "value")), permutations=99)
    chart = class_pairs(table, {"natural": found}, measure="centre_correlation", models=MODELS)
    falls_of = [row[1] for row in chart.panels]
    (points,) = (each for each in falls_of[0].collections if each.get_gid())
    assert np.asarray(points.get_offsets()).tolist() == panel.select("value", "share").to_numpy().tolist()
    texts = [[text.get_text() for text in axes.texts] for axes in falls_of]
    assert f"Spearman ρ = {words.coefficient(found.coefficient)}, 90 pairs (Mantel p = {found.p_value:.2g})" in texts[0]
    assert "no ρ: the network guesses when clean" in texts[1]
    assert found.coefficient > 0.2


def test_pairs_without_verdicts_are_a_matrix_alone(sampled: dict[str, pl.DataFrame]) -> None:
    table = pairs_beside_falls(
        sampled["pairs"],
        conform("verdicts", []),
        conform("robustness", []),
        layer="flatten",
        measure="centre_correlation",
    )
    chart = class_pairs(table, measure="centre_correlation")
    assert [len(row) for row in chart.panels] == [1, 1, 1]
    assert "class 3" in table["class_name"].to_list()


def test_displacements_stand_beside_their_controls_and_the_table_keeps_every_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chosen, every = moved(sampled)
    assert every.height == 3 * 10 * (len(STRENGTHS) - 1)
    assert chosen.height == 3 * 10
    assert chosen.group_by("model").agg(pl.col("strength").n_unique())["strength"].to_list() == [1, 1, 1]
    chart = displacement_by_class(chosen, every, models=MODELS)
    assert [len(row) for row in chart.panels] == [4, 4, 4]
    panel = chosen.filter(pl.col("model") == "random").sort("own", descending=True)
    for axes, part in zip(chart.panels[0], ("own", "toward", "outside"), strict=False):
        heights = [sorted(np.asarray(each.get_offsets())[:, 1]) for each in axes.collections if len(each.get_offsets())]
        for wanted in (part, f"{part}_held_out", f"{part}_random"):
            assert sorted(panel[wanted]) in heights
    labels = [text.get_text() for text in chart.legends[0].get_texts()]
    assert labels[-2:] == ["clean images, held out", "random direction"]
    one = chosen.filter(pl.col("model") == "natural")
    assert len(displacement_by_class(one, one).flat) == 3


def test_displacements_without_accuracies_are_taken_at_the_largest_strength(sampled: dict[str, pl.DataFrame]) -> None:
    every = displacement_table(sampled["geometry"], layer="flatten", threat="pgd")
    nothing = conform("robustness", [])
    assert telling_displacement(every, nothing, threat="pgd", iterate="last")["strength"].unique().to_list() == [0.3]


def test_curves_have_a_line_a_class_and_open_marks_where_they_are_extrapolated(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chart = value_by_points(sampled["curves"], measure="participation_ratio", models=MODELS)
    assert [len(row) for row in chart.panels] == [2, 2, 2]
    axes = chart.panels[0][0]
    measured, _ = (each for each in axes.collections if hasattr(each, "get_segments"))
    assert len(measured.get_segments()) == 10
    assert all(max(line[:, 0]) == N_POINTS for line in measured.get_segments())
    (open_marks,) = (
        each
        for each in axes.collections
        if len(each.get_offsets()) == 5 and each.get_facecolor()[0].tolist() == [1.0] * 4
    )
    assert set(np.asarray(open_marks.get_offsets())[:, 0]) == {4 * N_POINTS}
    assert any("ceiling 79 ↑" in text.get_text() for text in axes.texts)
    labels = [text.get_text() for text in chart.legends[0].get_texts()]
    assert labels == ["a class", "all classes of the layer", "ceiling", "extrapolated"]


def test_reliabilities_are_marks_with_intervals_and_one_without_a_value_is_left_out(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chart = reliability_by_measure(sampled["reliability"], models=MODELS)
    assert n_titles(chart) == 2 * 3 * 2
    nothing = pl.when(pl.col("model") == "natural").then(float("nan")).otherwise("reliability")
    left = reliability_by_measure(sampled["reliability"].with_columns(nothing.alias("reliability")))
    assert n_titles(left) == 2 * 2 * 2


@pytest.mark.parametrize("n_classes", [2, 31, 100])
def test_pairs_displacements_and_curves_of_any_number_of_classes_are_drawn(n_classes: int) -> None:
    tables = sampled_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    for chart in (
        class_pairs(beside_falls(tables), measure="centre_correlation"),
        displacement_by_class(*moved(tables)),
        value_by_points(tables["curves"], measure="participation_ratio"),
    ):
        assert len(chart.svg()) < 2_500_000
    named = class_pairs(beside_falls(tables), measure="centre_correlation").flat[0].get_xticklabels()
    assert len(named) == (n_classes if n_classes <= 30 else 0)


def test_figures_of_samples_without_rows_say_so() -> None:
    nothing = {name: conform(name, []) for name in ("pairs", "verdicts", "robustness", "geometry")}
    for chart in (
        class_pairs(beside_falls(nothing), measure="centre_correlation"),
        displacement_by_class(*moved(nothing)),
        value_by_points(conform("curves", []), measure="pca_dimension"),
        reliability_by_measure(conform("reliability", [])),
    ):
        assert any("no " in text.get_text() for text in chart.flat[0].texts)


def test_pictures_that_are_missing_or_degenerate_are_drawn() -> None:
    flat = SpectrumPicture("a", "l", 0, "zero", np.zeros(5), 6, 8)
    lone = SpectrumPicture("a", "l", 1, "one", np.array([2.0]), 2, 8)
    holed = SpectrumPicture("b", "l", 1, "holes", np.array([2.0, np.nan, 0.0]), 4, 8)
    for spectra in ([], [flat], [lone], [flat, lone, holed]):
        assert variance_spectra(spectra).svg()
    constant = CorrelationPicture("a", "l", 0, "c", np.full((3, 3), np.nan), float("nan"), 0.1)
    for correlations in ([], [constant], [constant] * 30):
        assert feature_correlations(correlations).svg()
    still = ExamplePicture("a", "noise", 3, "c", "i", np.ones((4, 4, 1)), np.ones((4, 4, 1)), 0, 0, 0)
    colour = ExamplePicture("a", "pgd", 8 / 255, "c", "i", np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.03), 0, 0, 1)
    for examples in ([], [still], [still, colour], [colour] * 30):
        assert attacked_examples(examples).svg()


def test_perturbations_state_their_scale_and_predictions_their_names() -> None:
    chart = attacked_examples(study_pictures().examples, models=MODELS)
    labels = [axes.get_xlabel() for axes in chart.flat]
    assert "× 5" in labels
    assert "sees 2" in labels


def test_pictures_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ManifoldscopeError, match="square"):
        CorrelationPicture("a", "l", 0, "c", np.zeros((2, 3)), 0.1, 0.1)
    with pytest.raises(ManifoldscopeError, match=r"expected \(h, w\)"):
        ExamplePicture("a", "pgd", 0.1, "c", "i", np.zeros((3, 8, 8)), np.zeros((3, 8, 8)), 0, 0, 1)
    with pytest.raises(ManifoldscopeError, match="differ in shape"):
        ExamplePicture("a", "pgd", 0.1, "c", "i", np.zeros((8, 8)), np.zeros((4, 4)), 0, 0, 1)


def test_figures_leave_the_users_matplotlib_settings_alone_and_do_not_depend_on_them(
    tables: dict[str, pl.DataFrame],
) -> None:
    before = dict(mpl.rcParams)
    usual = dimension_histograms(tables["geometry"])
    svg, png = usual.svg(), usual.png(50)
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "lines.linewidth": 9}):
        changed = dimension_histograms(tables["geometry"])
        assert changed.svg() == svg
        assert changed.png(50) == png


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_intervals_hold_the_share_and_stay_within_bounds(successes: int, extra: int) -> None:
    trials = successes + extra
    low, high = wilson(np.array([float(successes)]), np.array([float(trials)]))
    assert 0 <= low[0] <= successes / trials <= high[0] <= 1


def test_wilson_intervals_have_their_known_values() -> None:
    low, high = wilson(np.array([25.0, 0.0, 1.0]), np.array([50.0, 10.0, 0.0]))
    np.testing.assert_allclose(low[:2], [0.3664, 0.0], atol=1e-4)  # to the digits that tables of it print
    np.testing.assert_allclose(high[:2], [0.6336, 0.2775], atol=1e-4)
    assert np.isnan(low[2])


def test_mean_accuracy_pools_images_over_classes(tables: dict[str, pl.DataFrame]) -> None:
    row = (
        mean_accuracy(tables["robustness"], attack="pgd", iterate="last")
        .filter(pl.col("model") == "natural")
        .row(2, named=True)
    )
    expected = tables["robustness"].filter(
        (pl.col("model") == "natural") & (pl.col("iterate") == "last") & (pl.col("strength") == row["strength"])
    )
    assert row["accuracy"] == pytest.approx(expected["n_survived"].sum() / expected["n_images"].sum())


def test_one_threat_run_in_two_ways_is_two_attacks_but_a_step_size_is_no_way(tables: dict[str, pl.DataFrame]) -> None:
    assert with_attack(tables["robustness"])["attack"].unique().to_list() == ["pgd"]
    longer = tables["robustness"].with_columns(pl.col("parameters").str.replace("steps=20", "steps=40"))
    attacks = with_attack(pl.concat([tables["robustness"], longer]))["attack"].unique().sort().to_list()
    assert attacks == ["pgd loss=ce steps=20", "pgd loss=ce steps=40"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (0.0, "0"), (8 / 255, "8/255"), (0.0002, "0.0002"), (0.0125, "0.0125"), (3.0, "3")],
)
def test_strengths_read_as_people_write_them(value: float, text: str) -> None:
    assert words.strength(value) == text


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("pca_dimension", "fraction=0.95", "PCA dimension (95% of variance)"),
        ("pca_dimension", "fraction=0.9 scaling=standardise", "PCA dimension (90% of variance, standardised features)"),
        ("participation_ratio", "", "Participation ratio"),
        ("my_measure", "k=3", "my measure (k=3)"),
        ("capacity", "directions=300 margin=0 common=true seed=0", "Capacity"),
        (
            "centre_distance",
            "unit=radius corrected=true",
            "Distance between centres (in radii, corrected for sampling)",
        ),
        ("effective_alignment", "of=centres and axes draws=200", "Effective alignment (of centres and axes)"),
    ],
)
def test_measures_read_as_words(name: str, parameters: str, text: str) -> None:
    assert words.measure(name, parameters) == text
