"""What is said in words, for each shape that the numbers can take."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tests.evidence.simulated_tables import simulated_tables

from manifoldscope.evidence import at_chance
from manifoldscope.evidence.concluded import concluded
from manifoldscope.report.findings import FINDINGS, Finding, diagnose
from manifoldscope.report.findings.phrases import signed
from manifoldscope.tables import TABLES, conform
from simulated import World

CLASSES = range(30)


def row(method: str, coefficient: float | None, p: float | None, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if coefficient is None else (coefficient - 0.15, coefficient + 0.15)
    return {
        "model": "net",
        "layer": "penultimate",
        "measure": "pca_dimension",
        "parameters": "fraction=0.95",
        "attack": "pgd",
        "strength": 0.1,
        "iterate": "last",
        "outcome": "log_odds" if method == "two_draws" else "robust_accuracy",
        "method": method,
        "controls": "margin" if method == "two_draws" else "",
        "coefficient": coefficient,
        "low": low,
        "high": high,
        "p_value": p,
        "p_adjusted": p,
        "n": 30,
        **more,
    }


def study(*associations: dict[str, Any], models: tuple[str, ...] = ("net",), **tables: Any) -> dict[str, pl.DataFrame]:
    """Tables of a small study in which nothing is wrong; any of them can be replaced."""
    geometry = [
        {"model": model, "layer": "penultimate", "class_index": label, "measure": "pca_dimension"}
        | {"parameters": "fraction=0.95", "value": 5.0 + at + label / 10, "ceiling": 47.0, "n_points": 50}
        for at, model in enumerate(models)
        for label in CLASSES
    ]
    robustness = [
        {"model": model, "attack": "pgd", "parameters": "steps=10", "strength": strength, "iterate": iterate}
        | {"class_index": label, "n_images": 50, "n_robust": robust}
        | {"clean_accuracy": 0.9, "robust_accuracy": robust / 50}
        for at, model in enumerate(models)
        for label in CLASSES
        for iterate in ("last", "any")
        for strength, robust in ((0.0, 45), (0.1, 10 + at + label % 20), (0.3, 0))
    ]
    rows = {
        "models": [{"model": model, "provenance": "{}"} for model in models],
        "geometry": geometry,
        "robustness": robustness,
        "associations": list(associations),
        "checks": [{"model": "net", "check": "epsilon 0", "passed": True}],
        "skipped_images": [],
    } | tables
    return {name: conform(name, rows.get(name, [])) for name in {*rows, "specifications"}}


def of_kind(kind: str, tables: dict[str, pl.DataFrame]) -> Finding:
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == kind]
    return finding


SEEN, UNSEEN = 0.001, 0.6


def pair(
    model: str, layer: str, plain: tuple[Any, ...], partial: tuple[Any, ...] | None = None
) -> list[dict[str, Any]]:
    """The rows of a network and layer; each coefficient with its p-value, and its adjusted one where that differs."""
    asked: list[tuple[str, str, tuple[Any, ...] | None]] = [("pearson", "", plain)]
    asked += [("two_draws", control, partial) for control in ("margin", "clean_accuracy")]
    return [
        row(method, found[0], found[1], p_adjusted=found[-1], model=model, layer=layer, controls=control)
        for method, control, found in asked
        if found
    ]


@pytest.mark.parametrize(
    ("plain", "partial", "title", "text"),
    [
        (
            (-0.6, SEEN),
            (-0.5, SEEN),
            "In net, classes with fewer dimensions are more robust (r = −0.60)",
            "equally hard when clean, the association holds, given their margins and given clean accuracy.",
        ),
        (
            (0.6, SEEN),
            (0.5, SEEN),
            "In net, classes with more dimensions are more robust (r = +0.60)",
            "equally hard when clean, the association holds, given their margins and given clean accuracy.",
        ),
        (
            (-0.6, SEEN),
            (-0.1, UNSEEN),
            "In net, classes with fewer dimensions are more robust (r = −0.60); "
            "how hard they are when clean may be why",
            "consistent with clean difficulty alone",
        ),
        (
            (-0.6, SEEN),
            (0.5, SEEN),
            "In net, classes with fewer dimensions are more robust (r = −0.60); "
            "not shown to go beyond how hard they are when clean",
            "the association turns round, given their margins and given clean accuracy.",
        ),
        (
            (-0.6, SEEN),
            None,
            "In net, classes with fewer dimensions are more robust (r = −0.60)",
            "net, penultimate: r = −0.60 (−0.75 to −0.45), adjusted p = 0.001.",
        ),
        (
            (-0.4, 0.02, 0.2),
            (-0.1, UNSEEN),
            "A hint, no more, that classes with fewer dimensions are more robust to attacks (net)",
            "no evidence either",
        ),
        (
            (0.1, UNSEEN),
            (0.1, UNSEEN),
            "No evidence that classes with fewer dimensions are more robust to attacks (net, 30 classes)",
            "no evidence either",
        ),
        (
            (0.1, UNSEEN),
            (0.6, SEEN),
            "No evidence that classes with fewer dimensions are more robust to attacks (net, 30 classes)",
            "an association appears (to be repeated before it is believed)",
        ),
        (
            (-0.6, None),
            (-0.5, None),
            "In net, classes with fewer dimensions were more robust (r = −0.60); chance was not tested",
            "net, penultimate: r = −0.60 (−0.75 to −0.45); given the margin −0.50",
        ),
        (
            (None, None),
            None,
            "Whether classes with fewer dimensions are more robust to attacks could not be tested",
            "no correlation over 30 classes:\n\nnet, penultimate: no correlation, as one of the two does not vary",
        ),
    ],
)
def test_the_main_question(plain: tuple[Any, ...], partial: tuple[Any, ...] | None, title: str, text: str) -> None:
    associations = pair("net", "penultimate", plain, partial)
    finding = of_kind("association", study(*associations))
    assert finding.title == title
    assert text in finding.text
    assert (
        "PGD at ε = 0.1, where the classes of a network differ most in robust accuracy (last iterate)" in finding.text
    )
    assert len(finding.numbers) == len(associations)


@pytest.mark.parametrize(
    ("coefficients", "title"),
    [
        ("unseen unseen unseen unseen", "No evidence that {fewer} are more robust to attacks (4 {pairs}, 30 classes)"),
        ("fewer fewer fewer fewer", "{Fewer} are more robust in all 4 {pairs}"),
        ("more more unseen unseen", "Classes with more dimensions are more robust in 2 of 4 {pairs}"),
        ("unseen fewer unseen unseen", "{Fewer} are more robust in 1 of 4 {pairs} (a at y)"),
        ("fewer unseen fewer more", "{Fewer} are more robust in 2 of 4 {pairs}, less robust in 1"),
        ("hint unseen hint unseen", "A hint, no more, that {fewer} are more robust to attacks (2 of 4 {pairs})"),
        (
            "hint unseen other unseen",
            "No evidence that dimension goes with robustness: hints point both ways (2 of 4 {pairs})",
        ),
        ("fewer fewer", "{Fewer} are more robust in both layers"),
    ],
)
def test_many_pairs_have_one_answer(coefficients: str, title: str) -> None:
    known = {"fewer": (-0.6, SEEN), "more": (0.6, SEEN), "unseen": (-0.1, UNSEEN), "hint": (-0.4, 0.02, 0.2)}
    known["other"] = (0.4, 0.02, 0.2)
    places = (("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"))
    rows = [
        one
        for (model, layer), name in zip(places, coefficients.split(), strict=False)
        for one in pair(model, layer, known[name])
    ]
    finding = of_kind("association", study(*rows, models=("a", "b")))
    fewer = "classes with fewer dimensions"
    assert finding.title == title.format(fewer=fewer, Fewer=fewer.capitalize(), pairs="layers of 2 networks")
    assert len(finding.title) <= 110
    assert all(f"{one['model']}, {one['layer']}: r = {signed(one['coefficient'])}" in finding.text for one in rows)
    assert len(finding.numbers) == len(rows)


def test_more_pairs_than_can_be_read_are_given_as_a_range() -> None:
    models = tuple(f"net{at}" for at in range(8))
    unseen = [pair(model, "penultimate", (-0.1 * at + 0.2, UNSEEN), (0.1, UNSEEN)) for at, model in enumerate(models)]
    text = of_kind("association", study(*[row for rows in unseen for row in rows], models=models)).text
    assert "Over 8 networks r goes from −0.50 to +0.20 and is below 0 in 5" in text
    assert "The strongest: net7, penultimate: r = −0.50" in text
    assert text.count("penultimate:") == 1
    seen = [
        row
        for at, rows in enumerate(unseen)
        for row in (pair("net1", "penultimate", (-0.9, SEEN)) if at == 1 else rows)
    ]
    seen += pair("net1", "flatten", (None, None))
    text = of_kind("association", study(*seen, models=models)).text
    assert "With evidence:\n\nnet1, penultimate: r = −0.90" in text
    assert "No correlation for net1 at flatten, as one of the two does not vary." in text


def test_what_outlasts_clean_difficulty_is_said_for_each_pair_where_they_differ() -> None:
    rows = [*pair("a", "x", (-0.6, SEEN), (-0.5, SEEN)), *pair("b", "x", (-0.6, SEEN), (-0.1, UNSEEN))]
    finding = of_kind("association", study(*rows, models=("a", "b")))
    assert finding.title.startswith("Classes with fewer dimensions are more robust in both networks; beyond")
    assert finding.title.endswith("in 1 of 2")
    assert (
        "the association holds, given their margins and given clean accuracy, for a at x; the evidence is gone"
        in finding.text
    )
    assert any("not for there being 2 networks" in caveat for caveat in finding.caveats)


def test_where_difficulty_cannot_be_held_fixed_it_is_said_and_no_number_given() -> None:
    def gated(model: str, gate: str, vanishes_at: float) -> list[dict[str, Any]]:
        plain, *given = pair(model, "x", (-0.6, SEEN), (-0.5, SEEN))
        return [plain, *(each | {"gate": gate, "vanishes_at": vanishes_at} for each in given)]

    one = of_kind("association", study(*gated("a", "few_classes few_images", 0.4), models=("a",)))
    assert one.title.endswith("; whether beyond how hard they are when clean cannot be answered")
    assert "(fewer than 20 classes and fewer than 20 images of a class on a draw)" in one.text
    assert "if the correlation of the margins between two draws of images were at most 0.40 (a at x)" in one.text
    assert "given" not in one.text.split("Among")[0].replace("explain", "")
    rows = [*gated("a", "same_images", -0.4), *pair("b", "x", (-0.6, SEEN), (-0.5, SEEN))]
    two = of_kind("association", study(*rows, models=("a", "b")))
    assert "no noise in the margins would explain r of a at x" in two.text
    assert "the association holds, given their margins and given clean accuracy, for b at x" in two.text


def test_over_how_many_classes_difficulty_is_held_fixed_is_said_where_some_are_left_out() -> None:
    plain, margin, accuracy = pair("a", "x", (-0.6, SEEN), (-0.5, SEEN))
    fewer = [plain | {"n": 21}, *(each | {"n": 20} for each in (margin, accuracy))]
    assert "; given the margin over 20 of these classes −0.50 (" in of_kind("association", study(*fewer)).text
    gated = [plain | {"n": 20}, *(each | {"n": 19, "gate": "few_classes"} for each in (margin, accuracy))]
    assert (
        "(fewer than 20 classes); classes with an image that is correct when clean, and a number on both draws: 19 of "
        "20 (a at x)" in of_kind("association", study(*gated, models=("a",))).text
    )


def test_the_rank_correlation_across_networks_leaves_those_at_chance_level_out_and_no_caveat_says_otherwise() -> None:
    models = tuple(f"net{place}" for place in range(7))
    tables = simulated_tables(World(n_classes=12), models=models)
    clean = pl.when(pl.col("model") == "net3").then(0.1).otherwise(0.95)
    tables["models"] = tables["models"].with_columns(clean_accuracy=clean, n_classes=pl.lit(12))
    tables |= concluded(tables, methods=("pearson", "spearman"), permutations=9, seed=0)
    across = tables["associations"].filter(pl.col("model") == "*")
    assert set(across["n"]) == {6}
    (finding,) = (each for each in diagnose(tables) if each.kind == "networks")
    assert "Not counted: net3 (10.0% clean)" in finding.text
    assert any("With 6 networks only" in caveat for caveat in finding.caveats)
    assert not any("also those at chance level" in caveat for caveat in finding.caveats)


def test_another_measure_is_called_by_its_name() -> None:
    finding = of_kind("association", study(row("pearson", -0.6, 0.001, measure="participation_ratio", parameters="")))
    assert finding.title == "In net, classes with a lower participation ratio are more robust (r = −0.60)"


def test_uncertainty_is_quoted_and_doubts_follow_the_evidence() -> None:
    clear = of_kind("association", study(row("pearson", -0.6, 0.001, p_adjusted=0.004), row("two_draws", -0.5, 0.01)))
    assert "r = −0.60 (−0.75 to −0.45), adjusted p = 0.004; given the margin −0.50 (−0.65 to −0.35), adj" in clear.text
    assert any("this assumes" in caveat for caveat in clear.caveats)
    assert any("not a cause" in caveat for caveat in clear.caveats)
    assert not any("four times in five" in caveat for caveat in clear.caveats)
    assert not any("describe the sample" in caveat for caveat in clear.caveats)
    few = of_kind("association", study(row("pearson", -0.9, 0.001, n=10)))
    assert any("With 10 classes only |r| above about 0.79" in caveat for caveat in few.caveats)
    border = of_kind("association", study(row("pearson", -0.3, 0.04, p_adjusted=0.3)))
    assert any(
        "disagree about zero for net at penultimate: evidence at the border" in caveat for caveat in border.caveats
    )
    tables = study(row("pearson", -0.6, 0.001))
    tables["geometry"] = tables["geometry"].with_columns(
        value=pl.when(pl.col("class_index") < 10).then(45.0).otherwise("value"),
        describes_sample=pl.col("class_index") < 10,
    )
    assert any(
        "10 of 30 values are close to the largest value" in caveat for caveat in of_kind("association", tables).caveats
    )


def test_ceilings_are_those_of_clean_classes_and_measures_without_one_are_named_once() -> None:
    tables = study()
    attacked = tables["geometry"].with_columns(attack=pl.lit("pgd"), measure=pl.lit("displacement_own"))
    free = tables["geometry"].with_columns(
        measure=pl.lit("capacity"), parameters=pl.lit(""), ceiling=pl.lit(None, dtype=pl.Float64)
    )
    tables["geometry"] = pl.concat([tables["geometry"], attacked, free])
    found = of_kind("ceiling", tables)
    assert "displacement" not in found.text.lower()
    assert found.text.startswith("PCA dimension (95% of variance): 0 of 30 values")
    assert found.text.endswith("Without a ceiling, and none falls so: capacity.")
    assert sum(row["values"] for row in found.numbers) == 60


def test_an_association_with_an_unreliable_measure_is_called_attenuated() -> None:
    def caveats(reliability: float | None, **other: Any) -> list[str]:
        known = {"model": "net", "layer": "penultimate", "measure": "pca_dimension", "parameters": "fraction=0.95"}
        rows = [known | {"reliability": reliability, "low": 0.1, "high": 0.6} | other]
        found = of_kind("association", study(row("pearson", -0.6, 0.001), reliability=rows)).caveats
        return [caveat for caveat in found if "attenuated" in caveat]

    (caveat,) = caveats(0.36)
    assert "below 0.7 for net at penultimate (0.36, +0.10 to +0.60)" in caveat
    assert "at worst to about 0.60 of what it is" in caveat
    assert "hardly anything" in caveats(-0.2)[0]
    for known in (caveats(0.9), caveats(None), caveats(float("nan")), caveats(0.2, layer="other")):
        assert not known


def test_doubts_are_said_once_however_many_pairs_there_are() -> None:
    rows = [*pair("a", "x", (-0.3, 0.04, 0.3)), *pair("a", "y", (-0.3, 0.04, 0.3)), *pair("b", "x", (-0.1, UNSEEN))]
    caveats = of_kind("association", study(*rows, models=("a", "b"))).caveats
    assert len(caveats) == len(set(caveats)) == 3 + sum("describe" in caveat for caveat in caveats)
    assert sum("for a at x, a at y" in caveat or "for a at x and a at y" in caveat for caveat in caveats) == 1


def clean(**accuracies: float) -> list[dict[str, Any]]:
    """The table "models" of these networks, with ten classes each."""
    return [
        {"model": model, "provenance": "{}", "clean_accuracy": accuracy, "n_classes": 10}
        for model, accuracy in accuracies.items()
    ]


def test_networks_that_guess_are_left_out_and_named() -> None:
    rows = [*pair("random", "penultimate", (0.9, SEEN)), *pair("net", "penultimate", (-0.1, UNSEEN))]
    finding = of_kind("association", study(*rows, models=("random", "net")) | models(random=0.124, net=0.95))
    assert (
        finding.title == "No evidence that classes with fewer dimensions are more robust to attacks (net, 30 classes)"
    )
    assert (
        "Not counted: random (12.4% clean). The accuracies of a network at chance level are not informative."
        in finding.text
    )
    assert {one["model"] for one in finding.numbers} == {"net"}
    nobody = of_kind("association", study(*rows, models=("random", "net")) | models(random=0.124, net=0.1))
    assert nobody.title == "Whether classes with fewer dimensions are more robust to attacks could not be tested"
    assert "random (12.4% clean)" in nobody.text
    assert "net (10.0% clean)" in nobody.text


def models(**accuracies: float) -> dict[str, pl.DataFrame]:
    return {"models": conform("models", clean(**accuracies))}


@pytest.mark.parametrize(
    ("accuracy", "n_classes", "guesses"),
    [(0.19, 10, True), (0.2, 10, False), (0.55, 2, True), (0.6, 2, False), (0.008, 1000, True), (0.08, 1000, False)],
)
def test_guessing_is_judged_against_the_number_of_classes(accuracy: float, n_classes: int, guesses: bool) -> None:
    table = conform("models", [{"model": "net", "clean_accuracy": accuracy, "n_classes": n_classes}])
    assert bool(at_chance(table)) is guesses


def controlled(tables: dict[str, pl.DataFrame], *, strengths: int = 1) -> dict[str, pl.DataFrame]:
    """The study with a control beside the attack, which has no iterates and spreads the classes more."""
    attack = tables["robustness"].filter((pl.col("strength") == 0.1) & (pl.col("iterate") == "last"))
    noise = [
        attack.with_columns(
            attack=pl.lit("noise"), strength=pl.lit(0.5 + at), robust_accuracy=pl.col("class_index") * pl.lit(0.03)
        )
        for at in range(strengths)
    ]
    return tables | {"robustness": pl.concat([tables["robustness"], *noise])}


def test_the_attack_is_an_attack_where_there_is_one() -> None:
    rows = [row("pearson", -0.6, 0.001), row("pearson", 0.9, 0.001, attack="noise", strength=0.5)]
    tables = controlled(study(*rows), strengths=3)
    finding = of_kind("association", tables)
    assert "(r = −0.60)" in finding.title
    assert not any("Nothing in this study searches for adversarial examples" in caveat for caveat in finding.caveats)
    tables["robustness"] = tables["robustness"].filter(pl.col("attack") == "noise")
    tables["associations"] = tables["associations"].filter(pl.col("attack") == "noise")
    alone = of_kind("association", tables)
    assert "(r = +0.90)" in alone.title
    assert any("Nothing in this study searches for adversarial examples" in caveat for caveat in alone.caveats)
    unseen = tables["associations"].with_columns(p_value=pl.lit(0.6), p_adjusted=pl.lit(0.6))
    assert "are more robust to noise" in of_kind("association", tables | {"associations": unseen}).title


def test_an_attack_that_wrote_any_alone_is_used() -> None:
    tables = study(row("pearson", -0.6, 0.001, iterate="any"))
    tables["robustness"] = tables["robustness"].filter(pl.col("iterate") == "any")
    assert "(any iterate)" in of_kind("association", tables).text


def test_of_several_attacks_the_one_with_the_most_strengths_is_used() -> None:
    rows = [
        row("pearson", -0.6, 0.001),
        row("pearson", -0.5, 0.001, strength=0.3),
        row("pearson", 0.9, 0.001, attack="fgsm", strength=0.5),
    ]
    tables = controlled(study(*rows))
    renamed = pl.col("attack").replace({"noise": "fgsm"})
    single = tables["robustness"].with_columns(attack=renamed)
    found = single.with_columns(iterate=pl.when(renamed == "fgsm").then(pl.lit("any")).otherwise("iterate"))
    assert "(r = −0.60)" in of_kind("association", tables | {"robustness": found}).title


def test_the_setting_is_where_class_accuracies_spread_most_and_the_measure_the_dimension() -> None:
    rows = [
        row("pearson", -0.6, 0.001),
        row("pearson", 0.9, 0.001, strength=0.3),
        row("pearson", 0.9, 0.001, strength=0.0),
        row("pearson", 0.9, 0.001, iterate="any"),
        row("pearson", 0.9, 0.001, measure="participation_ratio", parameters=""),
        row("pearson", 0.9, 0.001, parameters="fraction=0.9"),
        row("pearson", 0.9, 0.001, model="*"),
    ]
    finding = of_kind("association", study(*rows))
    assert finding.numbers == tuple(conform("associations", rows[:1]).to_dicts())


@pytest.mark.parametrize(
    ("changed", "column", "value", "reason"),
    [("geometry", "value", 7.0, "same value, 7"), ("robustness", "robust_accuracy", 0.7, "same accuracy, 70.0%")],
)
def test_why_there_is_no_coefficient(changed: str, column: str, value: float, reason: str) -> None:
    tables = study(row("pearson", None, None))
    tables[changed] = tables[changed].with_columns(pl.lit(value).alias(column))
    assert reason in of_kind("association", tables).text
    assert "at least 4 classes" in of_kind("association", study(row("pearson", None, None, n=3))).text


def layered(tables: dict[str, pl.DataFrame], **values: float) -> dict[str, pl.DataFrame]:
    """The study with a second layer, "flatten", at which each network has this value in every class."""
    flat = tables["geometry"].with_columns(layer=pl.lit("flatten"), value=pl.col("model").replace_strict(values))
    return tables | {"geometry": pl.concat([flat.cast(dict(tables["geometry"].schema)), tables["geometry"]])}


def test_networks_are_compared_as_an_order_and_tested_only_from_five() -> None:
    three = of_kind("networks", study(models=("random", "standard", "adversarial")))
    assert three.title == "Across 3 networks, the more robust have more dimensions at penultimate"
    assert "penultimate: random (6.45; 35.7%), standard (7.45; 37.7%), adversarial (8.45; 39.7%)." in three.text
    assert "PGD at ε = 0.1, where the networks differ most" in three.text
    assert any("too few for a p-value" in caveat for caveat in three.caveats)
    five = tuple(f"net{i}" for i in range(5))
    tested = of_kind("networks", study(row("spearman", 0.9, 0.04, model="*", n=5), models=five))
    assert tested.title == "Across 5 networks, the more robust have more dimensions at penultimate"
    assert "Rank correlation +0.90 (+0.75 to +1.05), adjusted p = 0.04." in tested.text
    unsure = of_kind("networks", study(row("spearman", 0.9, 0.3, model="*", n=5), models=five))
    assert unsure.title == "Across 5 networks, no evidence that dimension goes with robust accuracy"
    untested = of_kind("networks", study(models=five))
    assert any("chance was not tested" in caveat for caveat in untested.caveats)
    few = of_kind("networks", study(row("spearman", 0.9, 0.04, model="*", n=4), models=five[:4]))
    assert "p = " not in few.text
    assert not [finding for finding in diagnose(study()) if finding.kind == "networks"]


@pytest.mark.parametrize(
    ("flatten", "title"),
    [
        ((5, 9), "The more robust network, b, has more dimensions than a at both layers"),
        ((9, 5), "The more robust network, b, has more dimensions than a at penultimate, fewer at flatten"),
        ((5, 5), "The more robust network, b, has more dimensions than a at penultimate, as many at flatten"),
        ((3, 4, 5), "Across 3 networks, the more robust have more dimensions at both layers"),
        ((3, 5, 4), "Across 3 networks, the more robust have more dimensions at penultimate, no one order at flatten"),
    ],
)
def test_all_layers_have_one_answer(flatten: tuple[float, ...], title: str) -> None:
    names = ("a", "b", "c")[: len(flatten)]
    values = dict(zip(names, map(float, flatten), strict=True))
    finding = of_kind("networks", layered(study(models=names), **values))
    assert finding.title == title
    assert len(finding.numbers) == 2 * len(names)
    assert f"flatten: a ({flatten[0]}; 35.7%), b ({flatten[1]}; 37.7%)" in finding.text


def test_networks_in_no_order() -> None:
    tables = study(models=("a", "b", "c"))
    bent = pl.when(pl.col("model") == "b").then(1.0).otherwise("value")
    tables["geometry"] = tables["geometry"].with_columns(value=bent)
    assert (
        of_kind("networks", tables).title
        == "Across 3 networks, dimension has no consistent relation to robust accuracy"
    )
    tables["robustness"] = tables["robustness"].with_columns(robust_accuracy=pl.lit(0.5))
    tied = of_kind("networks", tables)
    assert tied.title == "All 3 networks are equally robust: dimension cannot be compared with robustness"
    assert any("the same accuracy" in caveat for caveat in tied.caveats)


def test_networks_that_guess_are_shown_and_not_counted() -> None:
    tables = study(models=("random", "standard", "adversarial"))
    found = of_kind("networks", tables | models(random=0.1, standard=0.96, adversarial=0.98))
    assert found.title == "The more robust network, adversarial, has more dimensions than standard at penultimate"
    assert "random (6.45; 35.7%)" in found.text
    assert "Not counted: random (10.0% clean)." in found.text
    assert [one["at_chance"] for one in found.numbers] == [True, False, False]
    one = of_kind("networks", tables | models(random=0.1, standard=0.96, adversarial=0.1))
    assert one.title == "Networks cannot be compared: only standard is above chance level"
    none = of_kind("networks", tables | models(random=0.1, standard=0.1, adversarial=0.1))
    assert none.title == "Networks cannot be compared: every one of them is at chance level"


def test_networks_are_compared_under_an_attack() -> None:
    tables = controlled(study(models=("a", "b")))
    noise = (pl.col("attack") == "noise") & (pl.col("model") == "b")
    apart = tables["robustness"].with_columns(robust_accuracy=pl.when(noise).then(1.0).otherwise("robust_accuracy"))
    assert "under PGD at ε = 0.1" in of_kind("networks", tables | {"robustness": apart}).text


def test_replicates_of_a_network_are_one_network() -> None:
    models = [{"model": "net", "provenance": "{}"}, {"model": "net-2", "provenance": '{"replicate_of": "net"}'}]
    tables = study(models=("net", "net-2")) | {"models": conform("models", models)}
    assert not [finding for finding in diagnose(tables) if finding.kind == "networks"]


def test_ceilings() -> None:
    assert of_kind("ceiling", study()).title == "No value is near its ceiling or falls with half of the points"
    tables = study()
    label = pl.col("class_index")
    tables["geometry"] = tables["geometry"].with_columns(
        value=pl.when(label < 10).then(45.0).otherwise("value"),
        falls_when_halved=label.is_between(5, 14),
        describes_sample=label < 15,
        note=pl.lit("falls by 30% when half of the points are left out"),  # which nobody reads
    )
    finding = of_kind("ceiling", tables)
    assert finding.title == "50% of the values are near their ceiling or fall with half of the points"
    assert "PCA dimension (95% of variance): 10 of 30 values are within 10% of their ceiling, and 10" in finding.text


def test_many_measures_are_a_range_and_a_table_and_not_a_paragraph_of_one_line_each() -> None:
    tables = study()
    one = tables["geometry"]
    tables["geometry"] = pl.concat(
        one.with_columns(measure=pl.lit(f"m{at}"), describes_sample=pl.col("class_index") < 3 * at) for at in range(8)
    )
    finding = of_kind("ceiling", tables)
    assert "Of 8 measures 7 have such values, 0% to 70% of the values of a measure. The most: M7 (" in finding.text
    assert finding.text.count("are within 10% of their ceiling") == 1
    assert len(finding.numbers) == 8
    tables["geometry"] = tables["geometry"].with_columns(describes_sample=False)
    assert "8 measures have a ceiling, and none of their values" in of_kind("ceiling", tables).text


def test_many_layers_are_a_range_and_the_strongest() -> None:
    names = tuple(f"net{at}" for at in range(5))
    layers = [f"layer{at}" for at in range(6)]
    rows = [row("spearman", 0.1 * at, 0.4, model="*", n=5, layer=layer) for at, layer in enumerate(layers)]
    tables = study(*rows, models=names)
    one = tables["geometry"]
    tables["geometry"] = pl.concat(one.with_columns(layer=pl.lit(layer)) for layer in layers)
    finding = of_kind("networks", tables)
    assert "Over 6 layers the rank correlation goes from 0.00 to +0.50. The strongest: layer5: net0 (" in finding.text
    assert "layer4" not in finding.text
    assert len(finding.numbers) == 30
    tables["associations"] = tables["associations"].clear()
    assert "Of 6 layers, the one in which the networks differ most: layer0: net0" in of_kind("networks", tables).text


def test_a_measure_that_is_constant_but_for_two_classes_has_no_r_and_the_reason() -> None:
    tables = study(row("pearson", None, None))
    few = pl.when(pl.col("class_index") < 28).then(7.0).otherwise("value")
    tables["geometry"] = tables["geometry"].with_columns(value=few)
    text = of_kind("association", tables).text
    assert "all but 2 of the classes have the same value, 7: a correlation would rest on those two alone" in text


def test_what_an_association_notes_of_its_classes_is_a_doubt() -> None:
    note = "one pair (measure 40, accuracy 0.1) carries 80% of the variance of measure; without it the coefficient is 0"
    caveats = of_kind("association", study(row("pearson", -0.6, 0.001, note=note))).caveats
    assert f"net at penultimate: {note}." in caveats


def test_a_finding_is_of_the_kind_under_which_it_is_registered() -> None:
    tables = {name: conform(name, []) for name in TABLES} | study(row("pearson", -0.6, 0.001), models=("net", "other"))
    assert len(FINDINGS.names()) >= 9
    for entry in FINDINGS:
        assert {finding.kind for finding in entry.target(tables)} <= {entry.name}


def test_a_finding_of_ones_own_is_found_without_being_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FINDINGS, "_entries", dict(FINDINGS._entries))

    @FINDINGS.register("own")
    def found(tables: Any) -> list[Finding]:
        return [Finding("own", f"{len(tables['models'])} networks", "", weight=1000)]

    assert diagnose(study())[0].title == "1 networks"


def test_granularity() -> None:
    finding = of_kind("granularity", study())
    assert "about ±14 points" in finding.title
    assert "steps of 2 points" in finding.text
    assert "±13.9 points" in finding.text


def test_checks() -> None:
    assert of_kind("checks", study()).title == "Every check of the evaluation passed"
    failed = {"model": "net", "check": "monotone", "passed": False, "note": "rises at 0.3"}
    undecided = {"model": "net", "check": "other", "passed": None}
    finding = of_kind("checks", study(checks=[failed, undecided]))
    assert finding.title.startswith("1 of 2 checks of the evaluation failed")
    assert "net: monotone (rises at 0.3)" in finding.text
    assert finding.caveats == ("1 check could not be decided.",)
    assert of_kind("checks", study(checks=[undecided])).title == "No check of the evaluation failed"


def test_iterates() -> None:
    assert of_kind("iterates", study()).title.startswith("No image was misclassified on the way")
    tables = study()
    fell = (pl.col("iterate") == "any") & (pl.col("strength") == 0.1)
    tables["robustness"] = tables["robustness"].with_columns(
        n_robust=pl.when(fell).then(pl.col("n_robust") - 5).otherwise("n_robust")
    )
    finding = of_kind("iterates", tables)
    assert finding.title == "The last iterate alone overstates robustness by up to 10.0 points"
    assert "PGD at ε = 0.1" in finding.text


def test_images_skipped() -> None:
    image = {"image": "a/b.jpg", "class_name": "cat", "reason": "truncated"}
    finding = of_kind("skipped_images", study(skipped_images=[image]))
    assert finding.title == "1 image could not be read and was skipped"
    assert "a/b.jpg (truncated)" in finding.text


@pytest.mark.parametrize("missing", ["models", "geometry", "robustness", "associations", "checks"])
def test_a_missing_table_is_said_first_and_breaks_nothing(missing: str) -> None:
    tables = study(row("pearson", -0.6, 0.001), models=("net", "other"))
    del tables[missing]
    first = diagnose(tables)[0]
    assert first.kind == "missing"
    assert first.title == f"The study is not complete: {missing} is missing"


def test_findings_come_in_the_order_of_their_weight_for_any_table() -> None:
    empty = {name: conform(name, []) for name in TABLES}
    assert [finding.kind for finding in diagnose(empty)] == ["missing"]
    weights = [finding.weight for finding in diagnose(study(row("pearson", -0.6, 0.001)))]
    assert weights == sorted(weights, reverse=True)
