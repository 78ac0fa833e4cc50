"""Diagnosis cards: what they hold equals the tables, their words the facts, and all of it stays small."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conftest import sampled_tables, study_tables
from manifoldscope.evidence import cards
from manifoldscope.evidence.class_by_class import telling_classes
from manifoldscope.pictures import Picture
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, card_words, explore, select, spectra, triples
from manifoldscope.report.explore.featured import featured
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.views import card as view
from manifoldscope.report.figures.spectra import shares

WEB = Path(view.__file__).parents[2] / "web"


def page_of(tables: dict[str, pl.DataFrame], pictures: list[Picture] | None = None, **wanted: list[str]) -> Explored:
    contents = gather({}, tables, pictures or [])
    return Explored(contents, select(contents, wanted))


def example(model: str, label: int, strength: float, *, side: int = 4, step: float = 0.1) -> Picture:
    original = np.linspace(0, 1, side * side).reshape(side, side)
    adversarial = original + step * np.where(np.arange(side) % 2 == label % 2, 1.0, -1.0)
    names = {"model": model, "class_name": str(label), "image": f"{label}.png", "label": label, "attack": "pgd"}
    seen = {"strength": strength, "clean_prediction": label, "last_prediction": label + 1}
    return Picture("example", names | seen, {"original": original, "adversarial": np.clip(adversarial, 0, 1)})


def spectrum(model: str, label: int, values: Any) -> Picture:
    names = {"model": model, "layer": "flatten", "class_name": str(label), "class_index": label}
    return Picture("spectrum", names | {"n_points": 80, "n_features": 256}, {"eigenvalues": np.asarray(values)})


def shown(page: Explored) -> Any:
    return VIEWS["card"].target(page)


def test_words_are_those_of_the_cards_of_the_most_fragile_classes() -> None:
    page = page_of(sampled_tables())
    words = shown(page)["words"]
    assert len(words) == 30
    card = next(cards(page.contents.tables, model="standard"))
    text = words[f"{page.networks.index('standard')}.{page.class_position[card.class_index]}"]
    assert f"{card.robust.n_correct} of {card.robust.n_images} images are robust: {card.robust.value:.1%}" in text
    assert f"{card.low:.1%} to {card.high:.1%}), which leaves rank" in text
    assert f"Clean accuracy of the same images is {card.clean.value:.1%}." in text
    assert f"{card.taken_for[0].n_into} as {card.taken_for[0].class_name}" in text


def test_the_attack_that_words_are_of_is_said_beside_them() -> None:
    data = shown(page := page_of(sampled_tables()))
    for key, text in data["words"].items():
        network = key.split(".")[0]
        attack, strength, iterate = data["told_under"][network].rsplit(", ", 2)
        at_chance = text.startswith(f"{page.networks[int(network)]} is at chance level")
        assert at_chance or text.startswith(f"Under {attack}, {strength} ({iterate}),")


def test_a_network_at_chance_level_has_no_words_on_its_classes() -> None:
    words = shown(page := page_of(study_tables()))["words"]
    assert (
        words[f"{page.networks.index('random')}.3"]
        == "random is at chance level when clean: its accuracies say nothing of the class."
    )


def test_few_words_go_to_the_most_fragile_classes_of_each_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_words, "MOST_PER_NETWORK", 2)
    page = page_of(study_tables())
    data = shown(page)
    fragile = (
        telling_classes(page.contents.tables["robustness"])
        .filter(model="standard")
        .sort("robust_accuracy", "class_index")
    )
    told = [key for key in data["words"] if key.startswith(f"{page.networks.index('standard')}.")]
    assert [int(key.split(".")[1]) for key in told] == fragile["class_index"].to_list()[:2]
    assert data["left_out"] == "Sentences are of the 2 most fragile classes of each network."


def test_values_in_doubt_are_marked_class_by_class() -> None:
    tables = study_tables()
    some = pl.col("class_index").is_in([1, 9]) & (pl.col("model") == "standard")
    geometry = tables["geometry"].with_columns(describes_sample=some, ceiling=pl.lit(1e6))
    data = shown(page := page_of(tables | {"geometry": geometry}))
    n = page.networks.index("standard")
    assert set(data["doubt"]) == {f"{n}.{layer}.{m}" for layer in (0, 1) for m in (0, 1)}
    bits = np.unpackbits(np.frombuffer(base64.b64decode(data["doubt"][f"{n}.0.0"]["sample"]), dtype=np.uint8))
    assert np.flatnonzero(bits).tolist() == [1, 9]
    every = tables["geometry"].with_columns(ceiling="value")
    assert shown(page_of(tables | {"geometry": every}))["doubt"]["0.0.0"] == {"ceiling": True}


def test_nearest_classes_and_what_chance_gives_are_those_of_the_tables() -> None:
    page = page_of(sampled_tables())
    data = shown(page)
    layer = page.layers.index("flatten")
    for card in cards(page.contents.tables, model="adversarial"):
        near = data["nearest"][f"{page.networks.index('adversarial')}.{layer}"][str(card.class_index)]
        wanted = [[each.class_index, short(each.distance, 4)] for each in card.nearest if each.layer == "flatten"]
        assert near == wanted
    assert data["null"]["0.0.0"] == 40
    assert data["pair_measure"] == "Centroid distance"


def test_margins_are_those_of_the_table_by_draw() -> None:
    same = {"model": "standard", "draw": "geometry", "n_images": 80, "margin_sd": 0.25}
    rows = [same | {"class_index": label, "class_name": str(label), "margin": 1.5 + label} for label in range(10)]
    page = page_of(study_tables() | {"margins": pl.DataFrame(rows)})
    margins = shown(page)["margins"][str(page.networks.index("standard"))]
    assert margins == {"geometry": {"margin": [1.5 + label for label in range(10)], "sd": [0.25] * 10, "n": 80}}


def test_the_classes_that_come_first_are_the_most_fragile_and_the_most_robust() -> None:
    tables = study_tables()
    robust = pl.col("class_index").replace_strict(
        {label: (label * 3) % 10 for label in range(10)}, return_dtype=pl.Int64
    )
    page = page_of(tables | {"robustness": tables["robustness"].with_columns(n_robust=robust)})
    by_rank = [label * 7 % 10 for label in range(10)]  # 3 * 7 = 1 modulo 10
    assert featured(page) == [by_rank[place] for place in (0, 9, 1, 8, 2, 7, 3, 6, 4, 5)]
    assert featured(page_of({"geometry": tables["geometry"]})) == list(range(10))


def test_spectra_are_shares_on_a_logarithmic_axis_with_where_95_percent_is_reached() -> None:
    values = 2.0 ** -np.arange(79)
    pictures = [spectrum("standard", label, values * (1 + label)) for label in range(3)]
    page = page_of(study_tables(), pictures)
    cell = shown(page)["spectra"][f"{page.networks.index('standard')}.{page.layers.index('flatten')}"]
    levels = np.frombuffer(base64.b64decode(cell["of"]["1"]), dtype="<u2").astype(float)
    expected = shares(values)[np.array(cell["rank"]) - 1]
    told = expected > 1e-12
    assert 10 ** (-levels[told] / 1000) == pytest.approx(expected[told], rel=2e-3)
    assert (levels[~told] == spectra.NONE).all()
    assert cell["reached"]["1"] == 5  # 1 - 2^-5 = 0.97
    assert cell["low"] == cell["middle"] == cell["high"] == cell["of"]["0"]
    assert (cell["rank"][0], cell["rank"][-1], cell["n_classes"]) == (1, 79, 3)


def test_points_without_structure_have_the_spectrum_that_random_ones_have() -> None:
    points = np.random.default_rng(0).normal(size=(300, 200))
    points -= points.mean(0)
    drawn = np.sort(np.linalg.svd(points, compute_uv=False) ** 2)[::-1]
    alone = spectra.isotropic(300, 200)
    assert alone.sum() == pytest.approx(1)
    assert alone[10:190] == pytest.approx((drawn / drawn.sum())[10:190], rel=0.08)  # 200 eigenvalues of one draw
    assert spectra.isotropic(201, 299) == pytest.approx(spectra.isotropic(300, 200))
    assert spectra.isotropic(1, 5).size == 0


def test_spectra_that_do_not_fit_are_of_the_first_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "MOST_BYTES", 700)
    page = page_of(study_tables(), [spectrum("standard", label, np.arange(79, 0, -1.0)) for label in range(10)])
    data = shown(page)
    (cell,) = data["spectra"].values()
    assert len(json.dumps(cell["of"])) < 1300
    assert [int(place) for place in cell["of"]] == featured(page)[: len(cell["of"])]
    assert f"Spectra are of the {len(cell['of'])} most fragile and most robust of 10 classes." in data["left_out"]


def test_a_triple_shows_both_images_and_the_perturbation_magnified() -> None:
    original = np.array([[0.2, 0.4], [0.6, 0.8]])
    before, between, after, factor = triples.triple(original, original + np.array([[0.05, -0.05], [0.0, 0.0]]))
    assert before.tolist() == [[51, 102], [153, 204]]
    assert after[0].tolist() == [64, 89]
    assert factor == pytest.approx(10)
    assert between[0, 0, 0] > between[0, 0, 2]  # red adds light
    assert between[0, 1, 0] < between[0, 1, 2]
    assert between[1, 0].tolist() == [255, 255, 255]
    colour = np.full((1, 2, 3), 0.5)
    _, between, _, factor = triples.triple(colour, colour + np.array([[[0.1, 0.0, -0.1], [0.0, 0.0, 0.0]]]))
    assert between.tolist() == [[[255, 128, 0], [128, 128, 128]]]
    assert triples.triple(colour, colour)[3] is None


def test_triples_say_what_is_seen_and_have_the_images() -> None:
    page = page_of(
        study_tables(), [example("standard", 3, 0.1), example("standard", 3, 0.3), example("standard", 3, 0.0, step=0)]
    )
    found = shown(page)["triples"]
    (first, second) = found["of"]["3"]
    assert (first["before"], first["after"], first["wrong"], first["factor"]) == ("class 3", "class 4", True, 5)
    assert first["under"] == "PGD, ε = 0.1"
    assert (first["network"], first["attack"], first["strength"]) == (page.networks.index("standard"), 0, 2)
    assert second["strength"] == 4
    assert first["images"][0] == second["images"][0]  # the same original
    picture = Image.open(io.BytesIO(base64.b64decode(found["images"][first["images"][0]].partition(",")[2])))
    assert np.asarray(picture)[0].tolist() == [0, 17, 34, 51]
    assert (found["n"], found["shown"], found["side"]) == (2, 2, None)


def test_triples_are_spread_fairly_over_classes_and_stay_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [
        example(model, label, 0.1, side=32, step=0.01 * (1 + label) + 0.001 * place)
        for label in range(10)
        for place, model in enumerate(("standard", "adversarial", "random"))
    ]
    monkeypatch.setattr(triples, "MOST_BYTES", 14_000)
    found = shown(page_of(study_tables(), pictures))
    counts = [len(found["triples"]["of"].get(str(label), [])) for label in range(10)]
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 1
    assert sum(map(len, found["triples"]["images"])) <= 14_000
    assert found["triples"]["shown"] == sum(counts) < 30
    assert f"The page holds {sum(counts)} of 30 attacked images." in found["left_out"]


def test_large_images_are_shown_smaller() -> None:
    found = shown(page_of(study_tables(), [example("standard", 3, 0.1, side=300)]))["triples"]
    sizes = {Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size for uri in found["images"]}
    assert sizes == {(100, 100)}
    assert found["side"] == 128


def test_clean_images_of_a_class_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    label = np.repeat([2, 5], 10)
    small = np.stack([np.full((8, 8, 1), 10.0 * place) for place in range(20)])
    pictures = [
        Picture("thumbnails", {"model": "standard"}, {"thumbnails": small}),
        Picture("points", {"model": "standard", "layer": "flatten"}, {"label": label}),
    ]
    page = page_of(study_tables(), pictures)
    found = triples.strips(page, featured(page))
    assert set(found) == {"2", "5"}
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["5"]["uri"].partition(",")[2]))))
    assert picture.shape == (8, 64)
    assert picture[0, ::8].tolist() == [100 + 10 * place for place in range(8)]
    monkeypatch.setattr(triples, "MOST_STRIP_BYTES", 10)
    assert triples.strips(page, featured(page)) == {}


def test_data_stay_small_for_many_classes() -> None:
    page = page_of(sampled_tables(60), [spectrum("standard", label, np.arange(79, 0, -1.0)) for label in range(60)])
    data = shown(page)
    assert len(json.dumps({name: part for name, part in data.items() if name != "triples"})) < 600_000


def test_a_study_without_attacks_or_pictures_has_a_card() -> None:
    data = shown(page_of({"geometry": study_tables()["geometry"]}))
    assert (data["words"], data["triples"], data["strips"], data["spectra"], data["nearest"]) == ({}, None, {}, {}, {})
    assert shown(page_of({})) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_the_page_finds_where_a_class_stands_as_the_evidence_does() -> None:
    contents = gather({}, sampled_tables(), [])
    selection = select(contents)
    facts = explore(contents, selection)
    script = f"""
      import {{ standings }} from {json.dumps((WEB / "cards.js").as_uri())};
      let text = "";
      for await (const part of process.stdin) text += part;
      const facts = JSON.parse(text);
      console.log(JSON.stringify(standings(facts, {{ network: 1, layer: 0 }}, 4)));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(facts),
        capture_output=True,
        text=True,
        check=True,
    )
    page = Explored(contents, selection)
    (card,) = cards(contents.tables, model=page.networks[1], class_name="4")
    known = {(each.measure, each.parameters): each for each in card.standings if each.layer == page.layers[0]}
    found = json.loads(done.stdout)
    assert len(found) == len(known) == 2
    for each in found:
        wanted = known[page.measures[each["measure"]]]
        assert each["z"] == pytest.approx(wanted.z, rel=1e-3, abs=1e-4)  # values in the page have 5 digits
        assert each["percentile"] == pytest.approx(wanted.percentile)
        assert (each["nearCeiling"], each["ofSample"]) == (wanted.near_ceiling, wanted.describes_sample)
