"""Studies side by side: what differs, which classes are the same, and a page that is whole without a script."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import study_tables
from manifoldscope.errors import StudyError
from manifoldscope.report import Finding
from manifoldscope.report.compare import Comparison, Studied, compare, named
from manifoldscope.report.compared_page import page, summary, told
from manifoldscope.report.explore.view import WEB
from manifoldscope.report.paired_plot import apart, forest
from manifoldscope.tables import conform

CLASSES = ("cat", "dog", "owl", "fox", "hen")


def small_tables(
    values: dict[str, float], robust: dict[str, tuple[int, int]], *, network: str = "cnn", epsilon: float = 0.1
) -> dict[str, pl.DataFrame]:
    """One network whose classes have these PCA dimensions, and so many robust images of so many."""
    geometry = [
        {
            "model": network, "layer": "penultimate", "class_index": place, "class_name": name, "attack": "",
            "measure": "pca_dimension", "parameters": "fraction=0.95", "value": value, "n_points": 40, "n_features": 64,
        }
        for place, (name, value) in enumerate(values.items())
    ]  # fmt: skip
    robustness = [
        {
            "model": network, "attack": "pgd", "parameters": "steps=20", "strength": epsilon, "iterate": "last",
            "class_index": place, "class_name": name, "n_images": n, "n_clean_correct": n, "n_robust": k,
            "clean_accuracy": 1.0, "robust_accuracy": k / n,
        }
        for place, (name, (k, n)) in enumerate(robust.items())
    ]  # fmt: skip
    return {"geometry": conform("geometry", geometry), "robustness": conform("robustness", robustness)}


def studied(name: str, tables: dict[str, pl.DataFrame], **study: Any) -> Studied:
    return Studied(name, {"name": name, **study}, tables, [Finding("association", f"The answer of {name}", "")])


def two(first: dict[str, float], second: dict[str, float], **changes: Any) -> Comparison:
    robust = dict.fromkeys(CLASSES, (48, 80))
    other = dict.fromkeys(CLASSES, (56, 70))
    one = studied("one", small_tables(first, robust), seed=0)
    return compare([one, studied("two", small_tables(second, other, **changes), seed=1)])


RISING = dict(zip(CLASSES, (3.0, 5.0, 7.0, 9.0, 11.0), strict=True))


def test_settings_are_compared_field_by_field_and_items_of_lists_by_their_names() -> None:
    study = {
        "seed": 0,
        "layers": ["penultimate"],
        "data": {"source": "digits", "classes": [1, 4]},
        "attacks": [{"kind": "pgd", "steps": 20}, {"kind": "pgd", "steps": 40}],
        "models": [{"name": "cnn", "training": {"epochs": 3}}],
    }
    assert named(study) == {
        "seed": 0,
        "layers": {"penultimate": {}},
        "data": {"source": "digits", "classes": [1, 4]},
        "attacks": {"pgd": {"kind": "pgd", "steps": 20}, "pgd (2)": {"kind": "pgd", "steps": 40}},
        "models": {"cnn": {"training": {"epochs": 3}}},
    }
    found = compare([studied("a", {}, **study), studied("b", {}, **study, question="why?")])
    assert found.settings == {"name": ("a", "b"), "question": ("", "why?")}
    assert found.n_same == 9  # the seed, one layer, two of the data, two of each attack, one of the network
    longer = study | {"models": [{"name": "cnn", "training": {"epochs": 5}}], "layers": ["penultimate", "conv1"]}
    found = compare([studied("a", {}, **study), studied("b", {}, **longer)])
    assert dict(found.settings) == {
        "name": ("a", "b"),
        "layers.conv1": ("", "yes"),
        "models.cnn.training.epochs": ("3", "5"),
    }


def test_what_only_one_study_has_is_one_difference() -> None:
    models = [{"name": "cnn", "source": "small:cnn"}]
    more = [*models, {"name": "vgg", "source": "timm:vgg", "training": {"epochs": 9, "seeds": [0, 1]}}]
    one, two = studied("a", {}, models=models), studied("b", {}, models=more, ood=[{"source": "svhn", "images": 50}])
    found = compare([one, two])
    assert dict(found.settings) == {
        "name": ("a", "b"),
        "models.vgg": ("", "source = timm:vgg, training.epochs = 9, training.seeds = 0, 1"),
        "ood": ("", "svhn.source = svhn, svhn.images = 50"),
    }
    assert summary(found)[1] == "three settings differ: name, models.vgg and ood"


def test_the_same_classes_are_found_by_name_in_any_order() -> None:
    turned = dict(reversed(RISING.items()))
    (beside,) = two(RISING, {name: value + 1 for name, value in turned.items()}).beside
    assert beside.networks == ("cnn", "cnn")
    accuracy, clean, dimension = beside.quantities
    assert dimension.label == "PCA dimension (95% of variance), layer penultimate"
    assert dimension.change.tolist() == [1.0] * 5
    assert dimension.association.coefficient == pytest.approx(1.0)
    assert dimension.association.n == 5
    assert dimension.change_limits is None
    assert accuracy.label == "Robust accuracy, PGD ε = 0.1 (last iterate)"
    assert np.isnan(accuracy.association.coefficient)  # all classes are alike
    assert clean.x.tolist() == [1.0] * 5


def test_a_difference_of_accuracies_has_the_interval_of_two_proportions() -> None:
    accuracy = two(RISING, RISING).beside[0].quantities[0]
    assert accuracy.change_limits is not None
    low, high = (float(limit[0]) for limit in accuracy.change_limits)
    # 56 of 70 less 48 of 80: Newcombe (1998), table II
    assert accuracy.change[0] == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_a_class_of_one_study_alone_and_one_without_a_value_take_no_part() -> None:
    fewer = {name: value for name, value in RISING.items() if name != "owl"} | {"yak": 4.0}
    dimension = two(RISING, fewer).beside[0].quantities[2]
    assert dimension.classes == ("cat", "dog", "fox", "hen")


def test_studies_without_a_class_in_common_say_so() -> None:
    other = dict.fromkeys("abcde", 3.0)
    one = studied("one", small_tables(RISING, dict.fromkeys(CLASSES, (1, 2))))
    comparison = compare([one, studied("two", small_tables(other, dict.fromkeys("abcde", (1, 2))))])
    assert comparison.classes == ()
    assert comparison.beside[0].why == "They share no class: no name of a class is in both."
    assert "They share no class" in page(comparison)
    assert "they share no class" in "\n".join(summary(comparison))


def test_studies_that_measure_nothing_in_common_say_so() -> None:
    one = small_tables(RISING, dict.fromkeys(CLASSES, (1, 2)))
    comparison = compare([
        studied("one", one | {"robustness": one["robustness"].clear()}),
        studied("two", one | {"geometry": one["geometry"].clear()}),
    ])  # fmt: skip
    assert comparison.beside[0].why.startswith("They measure or attack these classes in no common way")


def test_without_a_network_in_common_the_first_of_each_is_taken() -> None:
    (beside,) = two(RISING, RISING, network="vgg").beside
    assert beside.networks == ("cnn", "vgg")
    assert len(beside.quantities) == 3
    assert "No network is in both studies" in page(two(RISING, RISING, network="vgg"))


def test_strengths_that_only_one_study_has_are_not_compared() -> None:
    labels = [each.label for each in two(RISING, RISING, epsilon=0.2).beside[0].quantities]
    assert labels == ["Clean accuracy", "PCA dimension (95% of variance), layer penultimate"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "one study cannot be compared; give 2 to 8 folders"),
        (["a", "a"], r"two of the studies are called alike \(a, a\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        compare([studied(name, {}) for name in names])


def test_more_than_four_studies_are_compared_with_the_first() -> None:
    tables = small_tables(RISING, dict.fromkeys(CLASSES, (1, 2)))
    found = compare([studied(name, tables) for name in "abcde"])
    assert [each.studies for each in found.beside] == [(0, 1), (0, 2), (0, 3), (0, 4)]


@pytest.fixture(scope="module")
def whole() -> Comparison:
    """Two studies of three networks, the second without two classes."""
    first, second = study_tables(), study_tables()
    second = {
        name: rows.filter(~pl.col("class_name").is_in(["3", "8"])) if "class_name" in rows.columns else rows
        for name, rows in second.items()
    }
    return compare([studied("first", first, seed=0), studied("second", second, seed=1)])


def test_answers_stand_beside_each_other_as_the_tables_have_them(whole: Comparison) -> None:
    assert [(each.study, each.network) for each in whole.answers] == [
        (study, network) for study in (0, 1) for network in ("adversarial", "standard")
    ]
    for answer in whole.answers:
        rows = whole.studies[answer.study].tables["associations"].filter(
            model=answer.network, layer="penultimate", measure="pca_dimension", method="pearson", controls=""
        )  # fmt: skip
        assert (answer.coefficient, answer.low, answer.high) in set(rows.select("coefficient", "low", "high").rows())
        assert answer.p_adjusted == 0.6


def test_a_network_at_chance_level_is_named(whole: Comparison) -> None:
    (random,) = (each for each in whole.beside if each.networks == ("random", "random"))
    assert "random is at chance level in the first study." in random.why


def test_the_page_is_whole_and_the_same_each_time(whole: Comparison) -> None:
    text = page(whole)
    assert page(whole) == text
    assert "The answer of first" in text
    root = ElementTree.fromstring(re.search(r"<svg [^>]*paired.*?</svg>", text, re.DOTALL)[0])
    points = [group for group in root.iter("g") if group.get("class") == "point"]
    assert sorted({int(each.get("data-class", "-1")) for each in points}) == list(range(8))
    n_panels = sum(len(each.quantities) for each in whole.beside)
    assert text.count('class="paired"') == n_panels == 12
    for each in whole.beside:
        for quantity in each.quantities:
            assert told(quantity) in text
    rows = re.findall(r'<tr data-class="\d+"><th scope="row">(\w+)</th>', text)
    assert rows == list("01245679") * 3


def test_the_forest_says_what_its_lines_are_of(whole: Comparison) -> None:
    text = page(whole)
    question = "PCA dimension (95% of variance) in layer penultimate and robust accuracy"
    assert f"The same question in each: {question}</h3>" in text
    forest = ElementTree.fromstring(re.search(r"<svg [^>]*forest.*?</svg>", text, re.DOTALL)[0])
    assert forest.get("aria-label") == f"{question}, by study and network"
    said = [each.text for each in forest.iter("text")]
    for answer in whole.answers:
        assert f"{whole.studies[answer.study].name} · {answer.network}" in said
        assert answer.under in said
        assert answer.under.startswith("PGD ε = ")


def test_a_network_without_a_coefficient_keeps_its_line_in_the_forest() -> None:
    lines = [("a · cnn", -0.5, -0.8, 0.1, "PGD"), ("b · cnn", math.nan, math.nan, math.nan, "PGD")]
    drawn = ElementTree.fromstring(forest(lines, label="r"))
    assert len(list(drawn.iter("circle"))) == 1
    assert {"a · cnn", "b · cnn", "no coefficient"} <= {each.text for each in drawn.iter("text")}
    assert forest(lines[1:], label="r") == ""


def test_points_at_one_place_stand_around_it() -> None:
    text = page(two(dict.fromkeys(CLASSES, 4.0), dict.fromkeys(CLASSES, 4.0)))
    for panel in re.findall(r"<svg [^>]*paired.*?</svg>", text, re.DOTALL):
        marks = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', panel)]
        assert len(marks) == len(CLASSES)
        assert min(math.dist(one, other) for one, other in itertools.combinations(marks, 2)) > 7.5  # their diameter: 8
        middle = np.mean(marks, axis=0)
        assert max(math.dist(mark, middle) for mark in marks) < 10


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_the_page_of_a_study_moves_points_apart_in_the_same_way() -> None:
    random = np.random.default_rng(0)
    places = [tuple(map(float, at)) for at in random.integers(0, 12, size=(60, 2))] + [(30.0, 30.0)] * 20
    script = f"""
      import {{ apart }} from {json.dumps((WEB / "apart.js").as_uri())};
      console.log(JSON.stringify(apart({json.dumps(places)}, 4)));
    """
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), apart(places, 4.0), atol=0.01)


def test_the_page_loads_nothing_and_allows_nothing_inline(whole: Comparison) -> None:
    text = page(whole)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""\s(?:style|on\w+)=["']""", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)


def test_names_from_strangers_are_text() -> None:
    evil = '"><script>alert(1)</script><b x="'
    names = [evil, *CLASSES[1:]]
    values = dict(zip(names, RISING.values(), strict=True))
    tables = small_tables(values, dict.fromkeys(names, (3, 4)), network=evil)
    text = page(compare([studied(evil, tables), studied("two", tables, seed=evil)]))
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in text


def test_the_summary_says_what_differs_and_how_far_classes_agree(whole: Comparison) -> None:
    lines = summary(whole)
    assert lines[0] == "two studies: first and second"
    assert lines[1] == "two settings differ: name and seed"
    assert lines[2] == "eight classes are in more than one study"
    assert "first: The answer of first" in lines
    assert any(re.match(r"  PCA dimension .*: Spearman ρ = 1.00 \(", line) for line in lines)
