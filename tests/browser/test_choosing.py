"""Choosing by mouse, by keyboard alone, by search and by a link changes what it should, and numbers are the tables'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from manifoldscope.report import words
from manifoldscope.report.rows import with_interval
from tests.browser.conftest import SCROLLED, Visit, Written, number, said
from tests.browser.made_up import ORDINARY

POINT = ".scatter [role=option]"
PARTS = ("network", "layer", "measure", "attack", "strength", "iterate", "outcome")


def chosen(page: Any) -> list[str]:
    """The names of the classes that are chosen, as the list beside the search says them."""
    return [text.removesuffix("×").strip() for text in page.locator("ul.chosen li").all_inner_texts()]


def state(visit: Visit) -> tuple[Any, ...]:
    """Everything that a choice of a class should change: the list, the address, and the scatter."""
    page = visit.page
    marked = page.locator(f"{POINT}[aria-selected=true]").evaluate_all("(all) => all.map((each) => each.dataset.key)")
    return chosen(page), [name for name in visit.address().get("class", []) if name], sorted(map(int, marked))


def only(visit: Visit, *names: str) -> None:
    """Nothing else is chosen, wherever one looks."""
    keys = sorted(ORDINARY.classes.index(name) for name in names)
    assert state(visit) == (list(names), list(names), keys)


def cleared(visit: Visit) -> Visit:
    """The page with no class chosen."""
    while visit.page.locator("ul.chosen button").count():
        visit.page.locator("ul.chosen button").first.click()
    assert chosen(visit.page) == []
    return visit


@pytest.fixture
def ordinary(written: Callable[[str], Written]) -> Written:
    return written("ordinary")


def test_the_mouse_chooses_a_class_and_lets_it_go(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path))
    key = int(seen.page.locator(POINT).first.get_attribute("data-key"))
    point = seen.page.locator(f"{POINT}[data-key='{key}']")
    point.click()
    only(seen, ORDINARY.classes[key])
    point.click()
    only(seen)


def test_the_keyboard_alone_reaches_and_chooses_a_class(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path, "#view="))
    page = seen.page
    here = "document.activeElement.getAttribute('data-key')"
    page.locator("ul.chosen, [role=combobox]").first.focus()
    page.locator("[role=combobox]").focus()
    page.keyboard.press("Escape")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.scatter [role=listbox]') !== null"):
            break
    first = page.evaluate(here)
    assert first is not None, "the Tab key does not reach the points"
    page.keyboard.press("ArrowRight")
    second = page.evaluate(here)
    assert second not in (None, first)
    page.keyboard.press("Enter")
    only(seen, ORDINARY.classes[int(second)])
    assert page.evaluate(here) == second, "the focus is lost with the choice"
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    third = page.evaluate(here)
    assert set(chosen(page)) == {ORDINARY.classes[int(key)] for key in (second, third)}
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_point_says_its_name_to_the_mouse_and_to_the_keyboard(ordinary: Written, visit: Callable[..., Visit]) -> None:
    page = visit(ordinary.path).page
    point = page.locator(POINT).first
    name = ORDINARY.classes[int(point.get_attribute("data-key"))]
    point.hover()
    assert name in page.locator("#tooltip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tooltip").is_hidden()
    point.focus()
    assert name in page.locator("#tooltip").inner_text()


def test_a_search_finds_and_chooses_a_class(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path))
    field = seen.page.locator("[role=combobox]")
    field.fill("ASS 7")
    assert seen.page.locator("#found [role=option]").all_inner_texts() == ["class 7"]
    field.press("Enter")
    only(seen, "class 7")
    field.fill("class")
    field.press("ArrowDown")
    field.press("Enter")
    only(seen, "class 7", "class 2")


def test_at_most_six_classes_are_chosen(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path))
    for name in ORDINARY.classes[:8]:
        seen.page.locator("[role=combobox]").fill(name)
        seen.page.locator("[role=combobox]").press("Enter")
    assert len(chosen(seen.page)) == 6
    assert seen.page.locator("[role=status].said").inner_text() == "6 classes at most: class 2 was let go."


def test_a_search_without_a_hit_says_so(ordinary: Written, visit: Callable[..., Visit]) -> None:
    page = visit(ordinary.path).page
    field, said = page.locator("[role=combobox]"), page.locator("[role=status].said")
    field.fill("zebra")
    assert said.inner_text() == "No class in this page is called “zebra”."
    assert page.locator("#found").is_hidden()
    before = chosen(page)
    field.press("Enter")
    assert chosen(page) == before
    field.fill("class 7")
    assert said.inner_text() == ""


def test_back_undoes_a_choice(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path))
    for key in (2, 4):
        seen.page.evaluate("(() => { const now = performance.now() + 900; performance.now = () => now; })()")  # a step
        seen.page.locator(f"{POINT}[data-key='{key}']").click()
    only(seen, "class 3", "class 5")
    seen.page.go_back()
    only(seen, "class 3")
    seen.page.go_back()
    assert chosen(seen.page) == []


def test_links_of_the_page_leave_the_choice_in_the_address(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path, "#class=class+3")
    assert abs(seen.page.locator("#explore").bounding_box()["y"]) < 40  # what was linked is seen first
    address = seen.page.evaluate("location.hash")
    seen.page.locator("nav a[href='#glossary']").click()
    assert seen.page.evaluate("location.hash") == address
    seen.page.evaluate(SCROLLED)
    assert seen.page.locator("#glossary").bounding_box()["y"] < 900
    assert seen.page.evaluate("document.activeElement.id") == "glossary"
    plain = visit(ordinary.path)
    plain.page.locator("nav a[href='#glossary']").click()
    assert plain.page.evaluate("location.hash") == "#glossary"


def test_the_name_of_the_usual_measure_is_not_cut(ordinary: Written, visit: Callable[..., Visit]) -> None:
    measures = visit(ordinary.path).page.locator("select[name=measure]")
    assert measures.locator("option").first.inner_text() == "PCA dimension (95% of variance)"
    shown = measures.bounding_box()["width"]
    measures.evaluate("(list) => { list.closest('label').style.maxWidth = 'none'; }")
    assert measures.bounding_box()["width"] == shown


def test_on_a_phone_the_answer_is_seen_before_the_contents(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path, width=390, has_touch=True, is_mobile=True)
    assert seen.page.locator("#answer").bounding_box()["y"] < 400
    seen.page.locator("nav summary").tap()
    assert seen.page.locator("nav a[href='#glossary']").is_visible()


def test_every_stop_of_the_keyboard_has_a_name(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path, "#class=class+3&view=card")
    seen.page.locator("[role=tab][aria-selected=true]").focus()
    for _ in range(25):
        seen.page.keyboard.press("Tab")
        named = seen.page.evaluate(
            "(e => !!(e.textContent.trim() || e.ariaLabel || e.labels?.length))(document.activeElement)"
        )
        assert named, seen.page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_a_link_restores_what_one_saw(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = cleared(visit(ordinary.path))
    for part in PARTS:
        options = seen.page.locator(f"select[name={part}]")
        options.select_option(index=options.locator("option").count() - 1)
    seen.page.locator("[role=tab]").last.click()
    seen.page.locator(f"{POINT}[data-key='4']").click()
    address, look = seen.page.evaluate("location.hash"), state(seen)
    assert look[0] == ["class 5"]
    again = visit(ordinary.path, address)
    assert state(again) == look
    for part in PARTS:
        values = [each.page.locator(f"select[name={part}]").input_value() for each in (seen, again)]
        assert values[0] == values[1], part
    assert again.page.locator("[role=tab]").last.get_attribute("aria-selected") == "true"
    assert again.page.locator(".scatter .fact").inner_text() == seen.page.locator(".scatter .fact").inner_text()


def test_what_a_link_names_wrongly_is_left_out_and_said(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(
        ordinary.path,
        "#class=nobody&class=class+2&layer=__proto__&network=constructor&attack=apgd&strength=NaN&view=toString&x=1",
    )
    note = seen.page.locator(".note")
    assert chosen(seen.page) == ["class 2"]
    assert said(seen)["attack"] == "apgd"
    assert seen.page.locator(POINT).count() > 0
    assert note.inner_text() == (
        "The link names the class “nobody”, the network “constructor”, the layer “__proto__”, the strength “NaN”, the "
        "view “toString” and “x”, which this page does not have."
    )
    seen.page.locator(f"{POINT}[data-key='4']").click()
    assert note.is_hidden()
    seen.page.go_back()
    assert "nobody" in note.inner_text()


def test_a_link_with_more_classes_than_can_be_chosen_says_how_many_are_shown(
    ordinary: Written, visit: Callable[..., Visit]
) -> None:
    seen = visit(ordinary.path, "#" + "&".join(f"class=class+{number}" for number in range(1, 10)))
    assert chosen(seen.page) == [f"class {number}" for number in range(1, 7)]
    said_of = seen.page.locator(".note").inner_text()
    assert said_of == "The link names 9 classes; the first 6 are shown, the most that can be chosen."


def cell(seen: Visit, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The associations of what the address says."""
    at = said(seen)
    measure, _, parameters = at["measure"].partition(" ")
    return tables["associations"].filter(
        pl.col("model") == at["network"],
        pl.col("layer") == at["layer"],
        pl.col("measure") == measure,
        pl.col("parameters") == parameters,
        pl.col("attack") == at["attack"],
        pl.col("strength") == float(at["strength"]),
        pl.col("iterate") == at["iterate"],
        pl.col("outcome") == at["outcome"],
    )


def told(row: dict[str, Any]) -> str:
    """A coefficient as the page says it."""
    value, low, high = (words.coefficient(row[name]) for name in ("coefficient", "low", "high"))
    return f"= {value} (95%: {low} to {high}), adjusted p = {words.number(row['p_adjusted'], 2)}"


@pytest.mark.parametrize("name", ["ordinary", "large"])
def test_each_list_redraws_the_scatter_and_says_the_fact_of_the_tables(
    written: Callable[[str], Written], visit: Callable[..., Visit], name: str
) -> None:
    seen, tables = visit(written(name).path), written(name).tables
    page = seen.page
    drawn = set()
    for part in PARTS:
        options = page.locator(f"select[name={part}]")
        n, now = options.locator("option").count(), int(options.input_value())
        assert n > 1, part
        before = page.locator(".scatter .picture").inner_html()
        options.select_option(index=(now + 1) % n)
        after = page.locator(".scatter .picture").inner_html()
        assert after != before, f"{part} changes nothing"
        drawn.add(after)
        fact = page.locator(".scatter .fact").inner_text()
        rows = cell(seen, tables).filter(method="pearson", controls="").to_dicts()
        assert len(rows) == 1, seen.address()
        assert told(rows[0]) in fact, f"{part}: {fact}"
    assert len(drawn) == len(PARTS)


@pytest.mark.parametrize("name", ["ordinary", "large"])
def test_the_table_behind_the_scatter_is_that_of_the_study(
    written: Callable[[str], Written], visit: Callable[..., Visit], name: str
) -> None:
    seen, tables = visit(written(name).path), written(name).tables
    first = "last"
    page = seen.page
    page.locator("select[name=iterate]").select_option(label=words.iterate(first))
    page.locator("select[name=outcome]").select_option(index=0)
    page.locator("select[name=network]").select_option(index=1)
    page.locator(".scatter details.behind summary").click()
    page.locator(".scatter details.behind tbody tr").first.wait_for()  # it is drawn when it is unfolded
    page.locator(".scatter details.behind tbody tr").first.wait_for()
    at = said(seen)
    measure, _, parameters = at["measure"].partition(" ")
    geometry = tables["geometry"].filter(model=at["network"], layer=at["layer"], measure=measure, parameters=parameters)
    counts = with_interval(
        tables["robustness"].filter(
            model=at["network"], attack=at["attack"], strength=float(at["strength"]), iterate=first
        )
    )
    expected = geometry.join(counts, on="class_index", how="full", coalesce=True).sort("class_index").to_dicts()
    columns = [text.strip() for text in page.locator(".scatter details.behind th").all_inner_texts()]
    rows = page.locator(".scatter details.behind tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert len(rows) == min(200, len(expected))
    for shown, row in zip(rows, expected, strict=False):
        cells = dict(zip(columns, shown, strict=True))
        assert cells["class"] == row["class_name"]
        for column, wanted in (
            ("value", row["value"]),
            ("ceiling", None if row["value"] is None else row["ceiling"]),
            ("n_images", row["n_images"]),
            ("n_robust", row["n_robust"]),
            ("robust_accuracy", row["robust_accuracy"]),
            ("low", row["robust_accuracy_low"]),
            ("high", row["robust_accuracy_high"]),
        ):
            close = None if wanted is None else pytest.approx(wanted, rel=2e-3, abs=2e-4)
            assert number(cells[column]) == close, (column, cells)


def test_the_scatter_has_a_point_for_every_class_with_both_numbers(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    seen = visit(written("large").path)
    if not seen.address():  # it is written with the first choice
        seen.page.locator(f"{POINT}[tabindex='0']").focus()
        seen.page.keyboard.press("Enter")
    at = said(seen)
    measure, _, parameters = at["measure"].partition(" ")
    known = (
        written("large")
        .tables["geometry"]
        .filter(model=at["network"], layer=at["layer"], measure=measure, parameters=parameters)["value"]
    )
    assert seen.page.locator(POINT).count() == known.is_not_null().sum()
