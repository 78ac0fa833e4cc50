"""The diagnosis card follows the class that was chosen, and its numbers are those of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from manifoldscope.report import words
from tests.browser.conftest import Visit, Written, number, said
from tests.browser.made_up import ORDINARY

CLASS = "class 3"
LABEL = ORDINARY.classes.index(CLASS)
CARD = "[data-view=card]"


@pytest.fixture
def card(written: Callable[[str], Written], visit: Callable[..., Visit]) -> Visit:
    """The page with the card of one class open."""
    seen = visit(written("ordinary").path, f"#class={CLASS.replace(' ', '+')}&view=card&strength=0.1&iterate=last")
    seen.page.locator("[role=combobox]").fill("class 9")  # the address is written with the first choice
    seen.page.keyboard.press("Enter")
    seen.page.keyboard.press("Escape")
    seen.page.locator("ul.chosen li", has_text="class 9").locator("button").click()
    return seen


@pytest.fixture
def tables(written: Callable[[str], Written]) -> dict[str, pl.DataFrame]:
    return written("ordinary").tables


def unfolded(page: Any, title: str) -> list[dict[str, str]]:
    """The rows of a folded table of the card, by column."""
    part = page.locator(f"{CARD} details", has=page.locator("summary", has_text=title))
    part.locator("summary").click()
    part.locator("tbody tr").first.wait_for()  # it is drawn when it is unfolded
    part.locator("tbody tr").first.wait_for()
    columns = part.locator("thead th").all_inner_texts()
    rows = part.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return [dict(zip((name.strip() for name in columns), row, strict=True)) for row in rows]


def test_the_card_is_of_the_class_chosen_last(card: Visit) -> None:
    page = card.page
    assert CLASS in page.locator(f"{CARD} h3").inner_text()
    page.locator(".scatter [role=option][data-key='6']").focus()
    page.keyboard.press("Enter")
    assert "class 7" in page.locator(f"{CARD} h3").inner_text()
    page.locator(f"{CARD} .which button", has_text=CLASS).click()
    assert CLASS in page.locator(f"{CARD} h3").inner_text()
    for _ in range(2):
        page.locator("ul.chosen button").first.click()
    assert page.locator(f"{CARD} h3").count() == 0
    assert "Choose a class" in page.locator(f"{CARD} .missing").inner_text()


def test_its_geometry_is_that_of_the_table(card: Visit, tables: dict[str, pl.DataFrame]) -> None:
    rows = unfolded(card.page, "Its geometry")
    shown = {(row["Network"], row["Layer"], row["Measure"]): row for row in rows}
    found = tables["geometry"].filter(pl.col("class_index") == LABEL, pl.col("value").is_not_null())
    assert len(rows) == len(shown) == found.height
    for row in found.iter_rows(named=True):
        cells = shown[row["model"], row["layer"], words.measure(row["measure"], row["parameters"])]
        assert number(cells["Value"]) == pytest.approx(row["value"], rel=1e-3)
        assert number(cells["Ceiling"]) == row["ceiling"]
        assert number(cells["High"]) == pytest.approx(row["value"] + 1.96 * row["stderr"], rel=2e-3)


def test_its_robust_accuracies_are_those_of_the_table(card: Visit, tables: dict[str, pl.DataFrame]) -> None:
    rows = unfolded(card.page, "Its robust accuracies")
    found = tables["robustness"].filter(class_index=LABEL)
    expected = Counter(
        (
            row["model"], words.attack(row["attack"]), words.number(row["strength"], 4), words.iterate(row["iterate"]),
            str(row["n_robust"]), str(row["n_images"]),
        )
        for row in found.iter_rows(named=True)
    )  # fmt: skip
    columns = ("Network", "Attack", "Strength", "Iterate", "Robust", "Images")
    assert Counter(tuple(row[column] for column in columns) for row in rows) == expected


def test_its_neighbours_are_the_nearest_of_the_pairs(card: Visit, tables: dict[str, pl.DataFrame]) -> None:
    at = said(card)
    pairs = tables["pairs"].filter(
        pl.col("model") == at["network"],
        pl.col("layer") == at["layer"],
        (pl.col("class_index") == LABEL) | (pl.col("other_class_index") == LABEL),
    )
    nearest = pairs.sort("value").head(3)
    part = card.page.locator(f"{CARD} section", has=card.page.locator("h4", has_text="Nearest classes"))
    expected = [
        f"{ORDINARY.classes[row['other_class_index'] if row['class_index'] == LABEL else row['class_index']]} "
        f"{words.number(row['value'])}"
        for row in nearest.iter_rows(named=True)
    ]
    assert part.locator("li").all_inner_texts() == expected


def test_what_its_images_are_taken_for_is_counted_from_the_outcomes(
    card: Visit, tables: dict[str, pl.DataFrame]
) -> None:
    at = said(card)
    rows = tables["outcomes"].filter(
        model=at["network"], attack=at["attack"], strength=float(at["strength"]), label=LABEL
    )
    wrong = Counter(rows.filter(pl.col("last_prediction") != LABEL)["last_prediction"])
    part = card.page.locator(f"{CARD} section", has=card.page.locator("h4", has_text="Misclassified as"))
    assert f"{wrong.total()} of {rows.height} images" in part.inner_text()
    shown = part.locator("li").all_inner_texts()
    every = {f"{ORDINARY.classes[label]} {count} of {wrong.total()}" for label, count in wrong.items()}
    assert shown
    assert set(shown) <= every


def test_words_and_numbers_each_say_the_strength_that_they_are_of(card: Visit) -> None:
    page = card.page
    page.locator("select[name=strength]").select_option(label="ε = 0.2")
    words_of, chosen_of = page.locator(f"{CARD} .said h4").all_inner_texts()
    text = page.locator(f"{CARD} .said p").inner_text()
    attack, strength = words_of.removeprefix("In words: ").split(", ")[:2]
    assert text.startswith(f"Under {attack}, {strength} (")
    assert "whatever is chosen" in words_of
    assert chosen_of == "As chosen: APGD, ε = 0.2, last iterate"
    page.locator("select[name=strength]").select_option(label="ε = 0.1")
    assert page.locator(f"{CARD} .said h4").all_inner_texts() == [words_of, "As chosen: APGD, ε = 0.1, last iterate"]


def test_adversarial_images_are_of_the_chosen_network_or_none(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("large").path, "#class=class+1&network=network+2&view=card").page
    said_of = page.locator(f"{CARD} .triple figcaption small").all_inner_texts()
    assert said_of
    assert all(text.startswith("network 2 ·") for text in said_of)
    page.locator("select[name=network]").select_option(label="network 4")
    assert page.locator(f"{CARD} .triple").count() == 0
    hint = page.locator(f"{CARD} .pictures").inner_text()
    assert "The page holds no adversarial images of class 1 for network 4." in hint
