"""History, links of the page, the keyboard and a phone: a reader gets about without losing what was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import SCROLLED, UNFOLD, Visit, Written, ready, said
from tests.browser.test_choosing import POINT, chosen

CHOICE = "#class=class+3&network=adversarial"
PHONE: dict[str, Any] = {"width": 390, "has_touch": True, "is_mobile": True}
SMALLEST = """() => Math.min(...[...document.querySelectorAll('.scatter svg text')].map((text) =>
  parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a))"""


@pytest.fixture
def ordinary(written: Callable[[str], Written]) -> Written:
    return written("ordinary")


def height_of(seen: Visit, selector: str) -> float:
    """How far below the upper edge of the window something is."""
    return float(seen.page.locator(selector).bounding_box()["y"])


def test_a_choice_survives_a_link_of_the_page_and_a_reload_stays_where_it_was(
    ordinary: Written, visit: Callable[..., Visit]
) -> None:
    seen = visit(ordinary.path, CHOICE)
    seen.page.locator("nav a[href='#glossary']").click()
    seen.page.evaluate(SCROLLED)
    seen.page.reload()
    ready(seen.page)
    assert chosen(seen.page) == ["class 3"]
    assert said(seen)["network"] == "adversarial"
    seen.page.evaluate(SCROLLED)
    assert abs(height_of(seen, "#explore")) > 200


def test_links_of_the_page_work_without_scripts(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path, live=False, java_script_enabled=False)
    seen.page.locator("nav a[href='#glossary']").click()
    assert seen.page.url.endswith("#glossary")


def test_back_to_a_link_of_the_page_undoes_the_first_choice(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path)
    first = chosen(seen.page)
    seen.page.locator("nav a[href='#glossary']").click()
    seen.page.locator(f"{POINT}[data-key='7']").click()
    assert chosen(seen.page) != first
    seen.page.go_back()
    assert seen.page.url.endswith("#glossary")
    assert chosen(seen.page) == first


def test_quick_choices_in_one_list_are_one_step_and_in_two_lists_two(
    ordinary: Written, visit: Callable[..., Visit]
) -> None:
    seen = visit(ordinary.path, "#strength=0.05&view=depth&network=standard")
    for strength in (0, 2, 3):
        seen.page.locator("select[name=strength]").select_option(index=strength)
    seen.page.locator("select[name=network]").select_option(label="adversarial")
    assert (said(seen)["strength"], said(seen)["network"]) == ("0.2", "adversarial")
    seen.page.go_back()
    assert (said(seen)["strength"], said(seen)["network"]) == ("0.2", "standard")
    seen.page.go_back()
    assert said(seen)["strength"] == "0.05"
    seen.page.go_forward()
    assert seen.page.locator("select[name=strength]").input_value() == "3"


def test_what_is_chosen_already_is_no_step(ordinary: Written, visit: Callable[..., Visit]) -> None:
    seen = visit(ordinary.path, CHOICE)
    steps = seen.page.evaluate("history.length")
    seen.page.locator("[role=tab][aria-selected=true]").click()
    assert seen.page.evaluate("history.length") == steps


def test_back_does_not_say_that_a_class_was_let_go(ordinary: Written, visit: Callable[..., Visit]) -> None:
    six = "&".join(f"class=class+{number}" for number in range(1, 7))
    seen = visit(ordinary.path, f"#{six}")
    seen.page.locator(f"{POINT}[data-key='7']").click()
    assert "class 1 was let go" in seen.page.locator("[role=status].said").inner_text()
    seen.page.go_back()
    assert len(chosen(seen.page)) == 6
    assert seen.page.locator("[role=status].said").inner_text() == ""


def test_home_and_end_go_to_the_first_and_the_last_tab(ordinary: Written, visit: Callable[..., Visit]) -> None:
    page = visit(ordinary.path).page
    tabs = page.locator("[role=tab]")
    tabs.nth(2).click()
    for key, tab in (("End", tabs.last), ("Home", tabs.first)):
        page.keyboard.press(key)
        assert tab.get_attribute("aria-selected") == "true"
        assert tab.evaluate("(tab) => tab === document.activeElement")


@pytest.mark.parametrize("width", [1400, 390])
def test_whatever_takes_the_focus_has_a_name(ordinary: Written, visit: Callable[..., Visit], width: int) -> None:
    page = visit(ordinary.path, "#class=class+3&class=class+4&view=card", width=width).page
    page.locator("main").evaluate(UNFOLD)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # what is too wide is noticed
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    nameless = [node["role"]["value"] for node in nodes if focusable(node) and not node["name"]["value"]]
    assert set(nameless) <= {"RootWebArea"}


def focusable(node: dict[str, Any]) -> bool:
    """Whether the browser's own tree of what can be accessed says that something takes the focus."""
    found = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
    return bool(found.get("focusable"))


def moved(seen: Visit, *fingers: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Fingers move over the glass, each from one place to another."""
    session = seen.page.context.new_cdp_session(seen.page)
    for step in range(13):
        at = [
            {"x": x + (to_x - x) * step / 12, "y": y + (to_y - y) * step / 12, "id": finger}
            for finger, ((x, y), (to_x, to_y)) in enumerate(fingers)
        ]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": at})
        seen.page.wait_for_timeout(16)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    seen.page.evaluate(SCROLLED)


def test_a_finger_scrolls_past_the_view_in_space_turns_it_and_two_magnify_it(
    ordinary: Written, visit: Callable[..., Visit]
) -> None:
    seen = visit(ordinary.path, "#class=class+1&class=class+2&view=manifolds", **PHONE)
    stage = seen.page.locator(".stage")
    stage.evaluate("(stage) => stage.scrollIntoView({ block: 'center', behavior: 'instant' })")
    seen.page.evaluate(SCROLLED)

    def state() -> tuple[float, list[Any]]:
        places = "(all) => all.map((text) => [text.getAttribute('x'), text.getAttribute('y')])"
        return seen.page.evaluate("scrollY"), stage.locator("text").evaluate_all(places)

    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = state()
    moved(seen, ((x - 60, y), (x + 60, y)))
    turned = state()
    assert turned[0] == before[0]
    assert turned[1] != before[1]
    moved(seen, ((x - 15, y), (x - 90, y)), ((x + 15, y), (x + 90, y)))
    magnified = state()
    assert magnified[0] == before[0]
    assert magnified[1] != turned[1]
    assert seen.page.evaluate("visualViewport.scale") == 1
    moved(seen, ((x, y), (x, y - 120)))
    assert state()[0] > before[0] + 60


@pytest.mark.parametrize("settings", [{"width": 1400}, PHONE], ids=["wide", "phone"])
def test_text_is_legible_and_where_a_class_stands_fits(
    ordinary: Written, visit: Callable[..., Visit], settings: dict[str, Any]
) -> None:
    page = visit(ordinary.path, "#class=class+3&view=card", **settings).page
    assert page.evaluate(SMALLEST) >= 10
    table = page.get_by_role("region", name="where it stands")
    assert table.evaluate("(part) => part.scrollWidth <= part.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
