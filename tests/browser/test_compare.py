"""The page of compared studies in a browser: it asks for nothing, and a class that is chosen lights up everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manifoldscope.report.compare import Studied, compare
from manifoldscope.report.compared_page import page
from manifoldscope.tables import conform

NAMES = ["cat", "dog", "owl", "fox", '"><img src=x onerror=alert(1)>', "hen"]


def tables(shift: float) -> dict[str, Any]:
    """One network whose classes have these values."""
    geometry = [
        {
            "model": "cnn", "layer": "penultimate", "class_index": place, "class_name": name, "attack": "",
            "measure": "pca_dimension", "parameters": "fraction=0.95", "value": place + shift, "n_points": 40,
        }
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    robustness = [
        {
            "model": "cnn", "attack": "pgd", "parameters": "", "strength": 0.1, "iterate": "last", "class_index": place,
            "class_name": name, "n_images": 40, "n_clean_correct": 38, "n_robust": 5 * place + int(shift),
            "robust_accuracy": (5 * place + int(shift)) / 40,
        }
        for place, name in enumerate(NAMES)
    ]  # fmt: skip
    return {"geometry": conform("geometry", geometry), "robustness": conform("robustness", robustness)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "compare.html"
    studies = [Studied(name, {"name": name}, tables(shift)) for name, shift in (("one", 0.0), ("two", 1.0))]
    path.write_text(page(compare(studies)), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, written: Path) -> Iterator[Any]:
    """The page at an address; fails where it complained, or asked for anything but itself."""
    contexts: list[Any] = []
    trouble: list[str] = []

    def at(address: str = "", **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("dialog", lambda dialog: trouble.append(dialog.message))
        tab.on("request", lambda request: trouble.append(request.url) if ".html" not in request.url else None)
        tab.goto(written.as_uri() + address)
        return tab

    yield at
    for context in contexts:
        context.close()
    assert trouble == []


def lit(tab: Any) -> list[str]:
    """The classes that are lit up in the tables."""
    found: list[str] = tab.eval_on_selector_all("tr.on th", "cells => cells.map((cell) => cell.textContent)")
    return found


def test_a_click_lights_a_class_in_every_panel_and_table_and_the_address_says_so(opened: Any) -> None:
    tab = opened()
    assert lit(tab) == []
    tab.locator("svg.paired").nth(1).locator(".point[data-class='2'] circle").dispatch_event("click")
    assert lit(tab) == ["owl"]
    assert tab.locator("svg.paired").count() == tab.locator(".point.on").count() == 3
    assert tab.evaluate("new URLSearchParams(location.hash.slice(1)).getAll('class')") == ["owl"]
    tab.locator("tr[data-class='0']").click()
    assert lit(tab) == ["cat", "owl"]
    tab.get_by_role("button", name="let go of owl").click()
    assert lit(tab) == ["cat"]


def test_the_keyboard_alone_chooses(opened: Any) -> None:
    tab = opened()
    tab.locator("svg.paired .point").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert lit(tab) == ["dog"]
    assert tab.locator("svg.paired").first.locator("[tabindex='0']").count() == 1
    tab.locator("#class").fill("FO")
    tab.keyboard.press("Enter")
    assert lit(tab) == ["dog", "fox"]
    tab.locator("#class").fill("zebra")
    tab.keyboard.press("Enter")
    assert "no class that both have begins with" in tab.locator(".said").inner_text()


def test_a_link_shows_what_one_saw_and_names_run_nothing(opened: Any) -> None:
    tab = opened("#class=hen&class=nothing&class=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
    assert set(lit(tab)) == {"hen", NAMES[4]}
    assert tab.locator("img").count() == 0


def test_without_scripts_the_page_is_whole(opened: Any) -> None:
    tab = opened(java_script_enabled=False)
    assert tab.locator("svg.paired .point").count() == 3 * len(NAMES)
    assert tab.locator("tr[data-class]").count() == len(NAMES)
    assert not tab.locator(".chooser").is_visible()
