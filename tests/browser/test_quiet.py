"""Every page comes to life in a browser without a complaint, a request or a breach of its policy, and shows pictures.

That nothing of the kind happened is asked of every visit in this folder, when it ends: see `conftest.visit`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import UNFOLD, Visit, Written
from tests.browser.made_up import SIZES

SMALL = [name for name in SIZES if name not in ("large", "two thousand points", "at one place")]


BOXES = """(part) => [...part.querySelectorAll("svg, canvas")].filter((each) => each.checkVisibility())
  .map((each) => [each.getBoundingClientRect(), part.getBoundingClientRect()])
  .filter(([box]) => Math.min(box.width, box.height) > 40)
  .map(([box, all]) => [box.left - all.left, box.top - all.top, box.right - all.left, box.bottom - all.top])"""


def tabs(page: Any) -> Iterator[str]:
    """The name of each view, once it is open."""
    for tab in page.locator("[role=tab]").all():
        tab.click()
        panel = page.locator(f"#{tab.get_attribute('aria-controls')}")
        assert panel.is_visible()
        yield panel.get_attribute("data-view")


def inks(page: Any, where: str) -> list[float]:
    """How much the pixels of each picture of a part differ from each other: 0 where it is blank.

    Pictures are those that are visible and no mere icons.
    """
    part = page.locator(where)
    at = part.evaluate(BOXES)
    if not at:
        return []
    with Image.open(io.BytesIO(part.screenshot())) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    found = []
    for left, top, right, bottom in at:
        inside = pixels[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)]
        found.append(float(inside.std(axis=(0, 1)).max()) if inside.size else 0.0)
    return found


@pytest.mark.parametrize("name", SMALL)
def test_every_view_shows_something_or_says_why_not_and_every_plot_has_ink(
    written: Callable[[str], Written], visit: Callable[..., Visit], name: str
) -> None:
    page = visit(written(name).path).page
    central = inks(page, ".scatter")
    assert central
    assert min(central) > 1
    for view in tabs(page):
        panel = page.locator(f"[data-view={view}]")
        shown = inks(page, f"[data-view={view}]")
        assert all(each > 1 for each in shown), f"a plot of {view} is blank"
        assert shown or panel.locator("table, img, .missing, .fact").count(), f"{view} is empty"
        assert panel.locator("> .missing").count() == 0, f"{view} is of nothing"


def test_paper_has_everything(written: Callable[[str], Written], visit: Callable[..., Visit]) -> None:
    page = visit(written("ordinary").path).page
    paper = page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    assert len(paper) > 50_000


SIDEWAYS = """(parts) => parts.filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.ariaLabel || part.className)"""


def test_on_a_phone_what_is_drawn_fits(written: Callable[[str], Written], visit: Callable[..., Visit]) -> None:
    four = "#class=class+1&class=class+2&class=class+3&class=class+4"
    page = visit(written("ordinary").path, four, width=390, has_touch=True, is_mobile=True).page
    assert page.locator(".story .chart svg").bounding_box()["width"] <= 390
    assert page.locator(".story .chart").evaluate_all(SIDEWAYS) == []
    for view in tabs(page):
        assert page.locator(f".scatter div, .scatter .scroll, [data-view={view}] div").evaluate_all(SIDEWAYS) == [], (
            view
        )


SCROLLING = """() => [...document.querySelectorAll("*")]
  .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
  .filter((each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX))"""


def test_what_scrolls_sideways_on_a_phone_is_reached_and_moved_by_keyboard(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("ordinary").path, width=390).page
    page.locator("main").evaluate(UNFOLD)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # what is too wide is noticed
    boxes = page.evaluate(
        f"({SCROLLING})().map((each) => [each.className || each.tagName, each.tabIndex, each.ariaLabel])"
    )
    assert {"chart", "scroll", "PRE"} <= {name for name, _, _ in boxes}
    assert [name for name, stop, label in boxes if stop != 0 or not label] == []
    box = page.locator("main .chart[tabindex='0']").first
    box.evaluate(
        "(box) => { window.moved = new Promise((done) => box.addEventListener('scroll', done, { once: true })); }"
    )
    box.focus()
    page.keyboard.press("ArrowRight")
    page.evaluate("window.moved")
    assert page.evaluate("scrollX") == 0


@pytest.mark.parametrize(("name", "width"), [("ordinary", 800), ("ordinary", 390), ("hostile names", 390)])
def test_nothing_is_wider_than_the_window(
    written: Callable[[str], Written], visit: Callable[..., Visit], name: str, width: int
) -> None:
    page = visit(written(name).path, width=width).page
    for view in tabs(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_a_heading_sorts_its_table_by_mouse_and_by_keyboard(
    written: Callable[[str], Written], visit: Callable[..., Visit]
) -> None:
    page = visit(written("ordinary").path).page
    part = page.locator("#table-models")
    part.evaluate("(part) => { for (let each = part; each; each = each.parentElement) each.open = true; }")
    heading = part.locator("th", has_text="clean_accuracy")
    place = heading.evaluate("(cell) => cell.cellIndex")

    def column() -> list[float]:
        texts = part.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()
        return [float(text) for text in texts]

    assert len(column()) == len(SIZES["ordinary"].networks)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)
